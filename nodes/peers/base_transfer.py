"""Fetch a network's base from a node that has it: in parts, resumable, checked by digest.

A file grows beside its place and is renamed when it has the digest that the sender named; the
folder is renamed when the base as a whole has the digests of the network's signed statement. So
what a sender says decides nothing, and an interruption costs one part.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from nodes.errors import NodeError
from nodes.model.digest import describe_base
from nodes.peers.artefacts.manifest import BaseFile, Manifest, sha256_of
from protocol import Network

log = structlog.get_logger()

PART_BYTES = 4 * 1024 * 1024

Call = Callable[[str, bytes], bytes]
"""Asks a service of the other node by its name."""


def is_whole(folder: Path, network: Network) -> bool:
    """Return whether a folder holds the network's base."""
    try:
        info = describe_base(folder)
    except NodeError:
        return False
    return info.is_called(network.base, network.tokenizer)


def fetch_base(
    call: Call,
    folder: Path,
    network: Network,
    *,
    stop: threading.Event,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Fetch the base of ``network`` into ``folder``; do nothing if it is there.

    Args:
        call: asks the node that has it; what it raises ends the fetching, and the next call goes
            on where this one stopped.
        on_progress: told of the bytes that are here, and of all, after each part.

    Raises ``NodeError``: ``stopped``, ``bad-manifest``, ``no-room``, ``wrong-base`` when what
    arrived is another base; then it is deleted.
    """
    if folder.exists() and is_whole(folder, network):
        return
    arriving = folder.with_name(f"{folder.name}.part")
    arriving.mkdir(parents=True, exist_ok=True)
    manifest = Manifest.decode(call("base", b""), arriving)
    _check_room(manifest)
    done = 0
    for file in manifest.files:
        for length in _fetch_file(call, arriving, file, stop):
            on_progress(done + length, manifest.total)
        done += file.length
    if not is_whole(arriving, network):
        shutil.rmtree(arriving)
        raise NodeError(
            "wrong-base", "What the parent sent is not the network's base; it was deleted."
        )
    if folder.exists():
        folder.replace(folder.with_name(f"{folder.name}.old"))
    arriving.replace(folder)
    log.info("base-fetched", folder=str(folder), bytes=manifest.total)


def _fetch_file(call: Call, folder: Path, file: BaseFile, stop: threading.Event) -> Iterator[int]:
    """Fetch what is missing of one file; yield the bytes that are here, after each part."""
    whole = folder / file.name
    whole.parent.mkdir(exist_ok=True)
    partial = whole.with_name(f".{whole.name}.part")
    if whole.exists() and whole.stat().st_size == file.length and sha256_of(whole) == file.sha256:
        yield file.length
        return
    if partial.exists() and partial.stat().st_size > file.length:
        partial.unlink()
    with partial.open("ab") as out:
        while (here := out.tell()) < file.length:
            if stop.is_set():
                raise NodeError("stopped", "The node was stopped while it fetched the base.")
            asked = {"name": file.name, "offset": here, "length": PART_BYTES}
            part = call("base-part", json.dumps(asked).encode())
            if not part or here + len(part) > file.length:
                raise NodeError("bad-part", f"The parent sent {len(part)} bytes of {file.name}.")
            out.write(part)
            out.flush()
            yield here + len(part)
    if sha256_of(partial) != file.sha256:
        partial.unlink()
        raise NodeError("wrong-part", f"{file.name} arrived with another digest; fetched again.")
    partial.replace(whole)


def _check_room(manifest: Manifest) -> None:
    here = sum(p.stat().st_size for p in manifest.folder.rglob("*") if p.is_file())
    free, lacking = shutil.disk_usage(manifest.folder).free, manifest.total - here
    if lacking > free:
        raise NodeError(
            "no-room",
            f"The base takes {manifest.total:,} bytes, {lacking:,} more than are here; "
            f"{free:,} are free in {manifest.folder.parent}. Free some space.",
        )
