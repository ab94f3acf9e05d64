"""Results of a long bench that are kept on disk, so that an interrupted one goes on.

Every result lies in a file named after what made it. Nothing is half-written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol import decode_adapter, encode_adapter

Vector = NDArray[np.float32]

DIGITS = 12
"""Of the digest in a file's name."""


@dataclass(frozen=True)
class ResultStore:
    """The results in one folder.

    Args:
        depends_on: what all of them depend on, such as the base's digest.
        say: told what is made now: ``about`` of a result, or its name.
    """

    folder: Path
    depends_on: Any
    say: Callable[[str], None]

    def vector(
        self,
        name: str,
        what: Any,
        size: int,
        make: Callable[[], tuple[Vector, Mapping[str, Any]]],
        about: str = "",
    ) -> tuple[Vector, dict[str, Any]]:
        """A vector (size,) float32 and what is told of it, made when there is none yet."""
        path = self._path(name, what, "safetensors")
        beside = path.with_suffix(".json")
        if not path.exists():
            self.say(about or name)
            vector, record = make()
            _write(beside, json.dumps(record).encode())
            _write(path, encode_adapter(vector))
        return decode_adapter(path.read_bytes(), size), json.loads(beside.read_text("utf-8"))

    def record(
        self, name: str, what: Any, make: Callable[[], Mapping[str, Any]], about: str = ""
    ) -> dict[str, Any]:
        """Numbers and text, made when there are none yet."""
        path = self._path(name, what, "json")
        if not path.exists():
            self.say(about or name)
            _write(path, json.dumps(make()).encode())
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return record

    def _path(self, name: str, what: Any, ending: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        made_of = digest([self.depends_on, name, what])
        return self.folder / f"{name.replace(' ', '-')}-{made_of}.{ending}"


def digest(what: Any) -> str:
    """A short name for anything that JSON can hold."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(data)
    temporary.replace(path)
