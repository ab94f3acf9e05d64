"""Check what arrived in a swarm's folder, and put it into its place while it is given to others."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from nodes.errors import NodeError

ENDING = ".part"


def check(path: Path, digest: str) -> None:
    """Compare a file with its SHA-256, hex, and write it to the disk for good.

    Raises ``NodeError`` ``wrong-artefact``.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    if found != digest:
        raise NodeError(
            "wrong-artefact",
            f"The swarm's artefact {digest[:12]}… is {found[:12]}…; it was deleted.",
        )


def link_into(arrived: Path, into: Path) -> bool:
    """Give a file a second name, in place of what is there; return False where there are no hard
    links.

    The session keeps the first name: told to rename a file that peers read from, libtorrent 2.1.1
    crashes now and then.
    """
    beside = into.with_name(f".{into.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    try:
        os.link(arrived, beside)
    except OSError:
        return False
    beside.replace(into)
    return True


def forget(arrived: Path) -> None:
    """Remove the first name of a file that has a second one."""
    if arrived.name.endswith(ENDING) and arrived.exists() and arrived.stat().st_nlink > 1:
        arrived.unlink()


def sync_folder(folder: Path) -> None:
    """Write what a folder names to the disk for good."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
