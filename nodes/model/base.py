"""The base: a folder with bf16 safetensors and a tokenizer, named by digests of its content.

A GGUF file is converted once, dequantised, because converted files differ between library versions;
from then on the folder is the artefact. A base can come from any local folder or hub id that
transformers can read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodes.errors import NodeError
from protocol import Digest, digest_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_CACHE = ".banyan-digest.json"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class BaseInfo:
    """The names of a base by digests. ``parameters`` counts every value of every tensor."""

    digest: Digest
    tokenizer_digest: Digest
    parameters: int


def describe_base(folder: Path) -> BaseInfo:
    """Digest a base: its sorted tensors (name, dtype, shape, bytes), and its tokenizer.

    The result is kept beside the files and used again while their sizes and times are the same.
    Raises ``NodeError`` ``no-base``.
    """
    files = sorted(folder.glob("*.safetensors"))
    tokenizer = [folder / name for name in _TOKENIZER_FILES if (folder / name).exists()]
    if not files or not tokenizer:
        raise NodeError(
            "no-base", f"{folder} holds no base: expected *.safetensors and tokenizer.json."
        )
    stamps = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in (*files, *tokenizer)]
    cache = folder / _CACHE
    try:
        cached = json.loads(cache.read_text("utf-8"))
        if cached["stamps"] == stamps:
            return BaseInfo(**cached["info"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no usable cache: digest again
    parameters, digest = _digest_tensors(files)
    text = b"".join(digest_of(p.read_bytes()).encode() + p.name.encode() for p in tokenizer)
    info = BaseInfo(digest, digest_of(text), parameters)
    try:
        temporary = cache.with_name(f"{_CACHE}.{os.getpid()}")
        temporary.write_text(json.dumps({"stamps": stamps, "info": asdict(info)}), "utf-8")
        temporary.replace(cache)
    except OSError:
        pass  # a read-only base is digested each time
    return info


def _digest_tensors(files: list[Path]) -> tuple[int, Digest]:
    total, running = 0, hashlib.sha256()
    tensors = sorted(
        (name, entry, path, start) for path in files for name, entry, start in _entries(path)
    )
    for name, entry, path, start in tensors:
        begin, end = entry["data_offsets"]
        head = json.dumps([name, entry["dtype"], entry["shape"]], separators=(",", ":"))
        running.update(f"{len(head)}:{head}".encode())
        with path.open("rb") as file:
            file.seek(start + begin)
            left = end - begin
            while left:
                chunk = file.read(min(left, 1 << 22))
                if not chunk:
                    raise NodeError("no-base", f"{path} ends before tensor {name} does.")
                running.update(chunk)
                left -= len(chunk)
        count = 1
        for size in entry["shape"]:
            count *= size
        total += count
    return total, Digest(running.hexdigest())


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any], int]]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    for name, entry in header.items():
        if name != "__metadata__":
            yield name, entry, 8 + size


def native_dtype() -> torch.dtype:
    """Return bfloat16 where the processor multiplies it natively, else float32.

    Without such instructions a bf16 product is emulated: measured on an AVX2 processor, 7 times
    slower forward and 70 times backward than float32.
    """
    import torch

    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def load_base(
    source: Path | str, dtype: str = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a base, frozen, for inference; a folder or a hub id.

    Args:
        dtype: ``bfloat16``, ``float32``, or ``auto``: what this processor computes fastest. In
            bfloat16 the weights are mapped from the file, so several processes share them.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    chosen = native_dtype() if dtype == "auto" else getattr(torch, dtype)
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=chosen)
    model.requires_grad_(False)
    model.eval()
    return model, tokenizer


def convert_gguf(gguf: Path, out: Path) -> BaseInfo:
    """Convert a GGUF file into a base folder, dequantised to bf16; does nothing when it is there.

    Written beside and renamed, so that ``out`` is whole or absent.
    Raises ``NodeError`` ``no-base`` when there is no such file.
    """
    if out.exists():
        return describe_base(out)
    if not gguf.exists():
        raise NodeError("no-base", f"There is no GGUF file at {gguf}.")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )
        model.to(torch.bfloat16).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return describe_base(out)
