"""The names of a base: digests over everything that decides its numbers, and over nothing else.

The base's digest covers the tensors (name, dtype, shape, bytes), the configuration and the
generation settings, each without the keys in ``NOT_NUMBERS``; the tokenizer's covers every file
that decides how text becomes tokens. Another spelling of the same is the same base. Knows no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nodes.errors import NodeError
from nodes.model.base_files import BaseFiles, Tensor, base_files, read_json, tensors_of
from protocol import Digest, digest_of

VERSION = 2
"""The definition of the digests. Version 1 covered the tensors and three files of the tokenizer."""

NOT_NUMBERS = frozenset(
    {
        "_name_or_path",  # where it was loaded from
        "_commit_hash",
        "transformers_version",  # what wrote the file
        "_from_model_config",
        "torch_dtype",  # a node chooses the type that it computes in
        "dtype",
        "use_cache",  # speed, and what is returned
        "_attn_implementation",
        "_attn_implementation_autoset",
        "attn_implementation",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "return_dict_in_generate",
        "output_scores",
        "torchscript",
    }
)
"""Keys of config.json and generation_config.json, at any depth, that change no number."""

_CACHE = ".banyan-digest.json"
_VERSION_1_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class BaseInfo:
    """The names of a base by digests. ``parameters`` counts every value of every tensor.

    ``earlier`` are the digests of base and tokenizer by version 1 of their definition, which the
    statements of networks made before version 2 hold.
    """

    digest: Digest
    tokenizer_digest: Digest
    parameters: int
    earlier: tuple[Digest, Digest]

    def is_called(self, base: Digest, tokenizer: Digest) -> bool:
        """Tell whether a network's statement means this base, by either version."""
        return (base, tokenizer) in ((self.digest, self.tokenizer_digest), self.earlier)


def describe_base(folder: Path) -> BaseInfo:
    """Digest a base.

    The result is kept beside the files and used again while their sizes and times are the same.
    Raises ``NodeError`` ``no-base`` where something is missing, ``bad-base`` for damaged files.
    """
    files = base_files(folder)
    stamps = [
        [p.relative_to(folder).as_posix(), p.stat().st_size, p.stat().st_mtime_ns]
        for p in files.all
    ]
    cache = folder / _CACHE
    try:
        cached = json.loads(cache.read_text("utf-8"))
        if (cached["version"], cached["stamps"]) == (VERSION, stamps):
            base, tokenizer = cached["info"].pop("earlier")
            return BaseInfo(**cached["info"], earlier=(Digest(base), Digest(tokenizer)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # no usable cache: digest again
    info = _digest(files)
    try:
        temporary = cache.with_name(f"{_CACHE}.{os.getpid()}")
        kept = {"version": VERSION, "stamps": stamps, "info": asdict(info)}
        temporary.write_text(json.dumps(kept), "utf-8")
        temporary.replace(cache)
    except OSError:
        pass  # a read-only base is digested each time
    return info


def _digest(files: BaseFiles) -> BaseInfo:
    for path in files.tokenizer:
        if path.suffix == ".json":
            read_json(path)  # a tokenizer that is cut off is found here, not when text is read
    settings = [
        _settings_digest(read_json(path) if path else {})
        for path in (files.config, files.generation)
    ]
    tensors = tensors_of(files)
    of_tensors = _tensors_digest(tensors)
    of_tokenizer = {
        path.relative_to(files.folder).as_posix(): digest_of(path.read_bytes())
        for path in files.tokenizer
    }
    names = sorted(of_tokenizer)
    return BaseInfo(
        digest=_joined(f"banyan base {VERSION}", of_tensors, *settings),
        tokenizer_digest=_joined(
            f"banyan tokenizer {VERSION}", *(f"{of_tokenizer[name]} {name}" for name in names)
        ),
        parameters=sum(math.prod(tensor.shape) for tensor in tensors),
        earlier=(of_tensors, _version_1_tokenizer(of_tokenizer)),
    )


def _joined(*lines: str) -> Digest:
    return digest_of("".join(f"{line}\n" for line in lines).encode())


def _settings_digest(values: dict[str, Any]) -> Digest:
    text = json.dumps(_normal(values), sort_keys=True, separators=(",", ":"))
    return digest_of(text.encode())


def _normal(value: Any) -> Any:
    """Leave out what changes no number; an absent key is a null, and 1 is 1.0."""
    if isinstance(value, dict):
        return {
            key: _normal(part)
            for key, part in value.items()
            if part is not None and key not in NOT_NUMBERS
        }
    if isinstance(value, list):
        return [_normal(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _tensors_digest(tensors: Sequence[Tensor]) -> Digest:
    running = hashlib.sha256()
    for tensor in tensors:
        head = json.dumps([tensor.name, tensor.dtype, tensor.shape], separators=(",", ":"))
        running.update(f"{len(head)}:{head}".encode())
        with tensor.file.open("rb") as file:
            file.seek(tensor.begin)
            left = tensor.end - tensor.begin
            while left:
                chunk = file.read(min(left, 1 << 22))
                if not chunk:
                    raise NodeError("bad-base", f"{tensor.file} changed while it was read.")
                running.update(chunk)
                left -= len(chunk)
    return Digest(running.hexdigest())


def _version_1_tokenizer(digests: dict[str, Digest]) -> Digest:
    parts = [digests[name] + name for name in _VERSION_1_TOKENIZER if name in digests]
    return digest_of("".join(parts).encode())
