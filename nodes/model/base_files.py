"""The files of a base: which of a folder's files decide what the model computes.

Everything else in the folder is neither read nor digested: other formats of the same weights, stray
shards, adapters that somebody saved beside them. Knows no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nodes.errors import NodeError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
GENERATION = "generation_config.json"
VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tiktoken.model",
    "tekken.json",
)
"""The forms of a vocabulary; a base has one of them at least."""
TOKENIZER_FILES = (
    *VOCABULARIES,
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
)
TEMPLATES = "additional_chat_templates/*.jinja"

_LFS = b"version https://git-lfs"
_MOST_HEADER_BYTES = 100_000_000
"""The longest header that the safetensors library reads."""


@dataclass(frozen=True)
class BaseFiles:
    """The files of a base; paths begin with ``folder``.

    Attributes:
        weights: the safetensors files that hold the tensors, sorted by name.
        index: what names them, where the weights are in several files.
        tokenizer: everything that decides how text becomes tokens, chat templates too.
    """

    folder: Path
    weights: tuple[Path, ...]
    index: Path | None
    config: Path
    generation: Path | None
    tokenizer: tuple[Path, ...]

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file: a copy of these is a copy of the base."""
        optional = (path for path in (self.index, self.generation) if path is not None)
        return (*self.weights, self.config, *optional, *self.tokenizer)


@dataclass(frozen=True)
class Tensor:
    """A tensor's place: ``begin`` and ``end`` are bytes in ``file``."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    begin: int
    end: int


def base_files(folder: Path) -> BaseFiles:
    """Find the files of the base in a folder.

    Raises ``NodeError``: ``no-base`` where something is missing, ``bad-base`` for a file that is a
    Git LFS pointer or an index that cannot be read.
    """
    if not folder.is_dir():
        raise NodeError("no-base", f"There is no folder {folder}; name the folder of a base.")
    index = None
    weights = [folder / WEIGHTS]
    if not weights[0].is_file():
        index = folder / INDEX
        if not index.is_file():
            raise _lacking(folder, f"{WEIGHTS} (or {INDEX} and the files that it names)")
        weights = _shards(index)
    if not (folder / CONFIG).is_file():
        raise _lacking(folder, CONFIG)
    tokenizer = [path for name in TOKENIZER_FILES if (path := folder / name).is_file()]
    if not any(path.name in VOCABULARIES for path in tokenizer):
        raise _lacking(folder, "tokenizer.json (or another form of a tokenizer)")
    generation = folder / GENERATION
    files = BaseFiles(
        folder,
        tuple(weights),
        index,
        folder / CONFIG,
        generation if generation.is_file() else None,
        tuple(sorted([*tokenizer, *folder.glob(TEMPLATES)])),
    )
    for path in files.all:
        _refuse_pointer(path)
    return files


def tensors_of(files: BaseFiles) -> list[Tensor]:
    """Read the headers of the weights; the tensors are sorted by name.

    Raises ``NodeError`` ``bad-base`` for a file that is no safetensors, is cut off, or repeats a
    tensor of another.
    """
    tensors = sorted(
        (tensor for path in files.weights for tensor in _header(path)), key=lambda t: t.name
    )
    if not tensors:
        raise NodeError("bad-base", f"The weights in {files.folder} hold no tensor.")
    for one, other in pairwise(tensors):
        if one.name == other.name:
            raise _bad(other.file, f"tensor {one.name} is in {one.file.name} too")
    return tensors


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ``NodeError`` ``bad-base``."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _bad(path, f"it is cut off or no JSON ({str(error)[:80]})") from None
    if not isinstance(value, dict):
        raise _bad(path, "it is no JSON object")
    return value


@contextmanager
def alone(files: BaseFiles) -> Iterator[Path]:
    """Yield a folder of links to the files of a base and nothing else.

    Libraries take what they find: a stray ``adapter_config.json`` makes them load another base.
    """
    with TemporaryDirectory(prefix="banyan-base-") as folder:
        for path in files.all:
            link = Path(folder) / path.relative_to(files.folder)
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(path.resolve())
        yield Path(folder)


def _shards(index: Path) -> list[Path]:
    _refuse_pointer(index)
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise _bad(index, "it has no weight_map")
    names = sorted({str(name) for name in places.values()})
    for name in names:
        if Path(name).name != name:
            raise _bad(index, f"it names {name[:80]}, which is not a file of the same folder")
        if not (index.parent / name).is_file():
            raise _lacking(index.parent, f"{name}, which {index.name} names")
    paths = [index.parent / name for name in names]
    for path in paths:
        _refuse_pointer(path)
    held = {(tensor.name, path.name) for path in paths for tensor in _header(path)}
    missing = [name for name, shard in places.items() if (name, shard) not in held]
    if missing:
        raise _bad(index, f"{places[missing[0]]} lacks the tensor {missing[0]} that it names")
    return paths


def _header(path: Path) -> list[Tensor]:
    """Read a safetensors header, and check that the file is as long as it says."""
    length = path.stat().st_size
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if length < 8 or size > min(length - 8, _MOST_HEADER_BYTES):
            raise _bad(path, "it is cut off or not a safetensors file")
        text = file.read(size)
    try:
        header = json.loads(text.decode("utf-8"))
        tensors = [
            Tensor(
                name,
                str(entry["dtype"]),
                tuple(map(int, entry["shape"])),
                path,
                8 + size + int(entry["data_offsets"][0]),
                8 + size + int(entry["data_offsets"][1]),
            )
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise _bad(path, "its header cannot be read, so it is no safetensors file") from None
    for tensor in tensors:
        if not 8 + size <= tensor.begin <= tensor.end:
            raise _bad(path, f"its header gives tensor {tensor.name} an impossible place")
        if tensor.end > length:
            raise _bad(path, f"it ends before tensor {tensor.name} does, so it is cut off")
    return tensors


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise NodeError(
                "bad-base",
                f"{path} is a Git LFS pointer, not the file itself: run git lfs pull in its "
                "repository, or download the file.",
            )


def _lacking(folder: Path, name: str) -> NodeError:
    return NodeError(
        "no-base",
        f"{folder} holds no base: it lacks {name}. A base is a folder with {WEIGHTS}, {CONFIG} "
        "and a tokenizer.",
    )


def _bad(path: Path, why: str) -> NodeError:
    return NodeError("bad-base", f"{path} cannot be used: {why}. Fetch the base again.")
