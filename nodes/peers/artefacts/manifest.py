"""The list of a base's files, itself an artefact: by it a node knows what to ask for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from nodes.errors import NodeError
from nodes.model.base_files import base_files
from protocol import Digest, digest_of
from protocol.ids import is_digest

MAX_FILES, MAX_BYTES = 4096, 1 << 40
MAX_MANIFEST_BYTES = 2 * 1024 * 1024
_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}"
_NAME = re.compile(rf"({_PART}/)?{_PART}\.(safetensors|json|jinja|txt|model)")


def sha256_of(path: Path) -> Digest:
    """Digest a file without reading it whole into memory."""
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True)
class BaseFile:
    """One file of a base; its name may have one folder."""

    name: str
    length: int
    sha256: Digest


@dataclass(frozen=True)
class Manifest:
    """The files of a base. ``folder`` is where they are, or will be."""

    folder: Path
    files: tuple[BaseFile, ...]

    @classmethod
    def of_folder(cls, folder: Path, sha256: Callable[[Path], Digest] = sha256_of) -> Manifest:
        """Describe the files of the base in a folder. Raises ``NodeError`` (``base_files``)."""
        files = (
            BaseFile(path.relative_to(folder).as_posix(), path.stat().st_size, sha256(path))
            for path in base_files(folder).all
        )
        return cls(folder, tuple(files))

    @classmethod
    def decode(cls, data: bytes, folder: Path) -> Manifest:
        """Read what another node said. Raises ``NodeError`` ``bad-manifest``."""
        try:
            files = tuple(BaseFile(**entry) for entry in json.loads(data))
        except (ValueError, TypeError, RecursionError):
            raise NodeError("bad-manifest", "The parent's list of files is damaged.") from None
        if not 0 < len(files) <= MAX_FILES or not all(map(_is_sound, files)):
            raise NodeError("bad-manifest", "The parent lists files that no base has.")
        # As some disks see them: two names that differ in case only would be one file.
        if len({file.name.lower() for file in files}) < len(files):
            raise NodeError("bad-manifest", "The parent lists a file twice.")
        return cls(folder, files)

    def encode(self) -> bytes:
        """Write the list for another node."""
        return json.dumps([asdict(file) for file in self.files]).encode()

    @property
    def digest(self) -> Digest:
        """The name of the list as an artefact."""
        return digest_of(self.encode())

    def file(self, name: object) -> BaseFile | None:
        """Return the file of that name."""
        return next((file for file in self.files if file.name == name), None)

    @property
    def total(self) -> int:
        """The bytes of all files."""
        return sum(file.length for file in self.files)


def _is_sound(file: BaseFile) -> bool:
    return (
        isinstance(file.name, str)
        and _NAME.fullmatch(file.name) is not None
        and type(file.length) is int
        and 0 <= file.length <= MAX_BYTES
        and is_digest(file.sha256)
    )
