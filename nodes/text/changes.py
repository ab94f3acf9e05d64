"""Notice that a node's own text changed, without reading it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

MOST_FILES = 4096
"""Files of a watched folder that are looked at; the next lesson takes in the others too."""


def fingerprint(files: Iterable[Path], folder: Path | None) -> tuple[object, ...]:
    """Return the sizes and times of text files and of a watched folder's: equal while nothing
    changed. A missing file counts as one without size."""
    watched: list[Path] = []
    if folder is not None:
        for above, _, names in os.walk(folder):
            watched += [Path(above) / name for name in names]
            if len(watched) > MOST_FILES:
                break
    return tuple(map(_stamp, (*files, *sorted(watched))))


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        entry = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), entry.st_size, entry.st_mtime_ns
