"""Fetch a network's base from whoever has it: its list of files, the files, the check of the whole.

Each file has the digest that the list names, and the whole has the digests of the network's signed
statement before its folder is renamed. So what a sender says decides nothing, and an interruption
costs a part.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import structlog

from nodes.errors import NodeError
from nodes.model.digest import describe_base
from nodes.peers.artefacts.fetch import Fetcher
from nodes.peers.artefacts.manifest import (
    MAX_BYTES,
    MAX_MANIFEST_BYTES,
    BaseFile,
    Manifest,
    sha256_of,
)
from nodes.peers.artefacts.source import OnProgress
from protocol import Digest, Network

log = structlog.get_logger()


def is_whole(folder: Path, network: Network) -> bool:
    """Return whether a folder holds the network's base."""
    try:
        info = describe_base(folder)
    except (NodeError, OSError):
        return False
    return info.is_called(network.base, network.tokenizer)


def fetch_base(
    fetcher: Fetcher,
    manifest_digest: Digest,
    folder: Path,
    network: Network,
    *,
    stop: threading.Event,
    on_progress: OnProgress = lambda _here, _all: None,
) -> None:
    """Fetch the base of ``network`` into ``folder``; do nothing if it is there.

    Args:
        manifest_digest: of the list of the base's files, as the parent named it.
        on_progress: told of the bytes that are here, and of all.

    Raises ``NodeError``: what ``Fetcher.fetch`` raises, with everything that arrived kept for the
    next call; ``bad-manifest``; ``wrong-base`` when what arrived is another base, which is then
    deleted.
    """
    if folder.exists() and is_whole(folder, network):
        return
    arriving = folder.with_name(f"{folder.name}.part")
    arriving.mkdir(parents=True, exist_ok=True)
    listed = fetcher.get(manifest_digest, most=MAX_MANIFEST_BYTES, stop=stop)
    manifest = Manifest.decode(listed, arriving)
    _check_room(manifest)
    done = 0
    for file in manifest.files:
        if not _is_here(arriving / file.name, file):

            def tell(here: int, _all: int, before: int = done) -> None:
                on_progress(before + here, manifest.total)

            fetcher.fetch(
                file.sha256,
                arriving / file.name,
                most=MAX_BYTES,
                length=file.length,
                stop=stop,
                on_progress=tell,
            )
        done += file.length
        on_progress(done, manifest.total)
    _remove_others(manifest)
    if not is_whole(arriving, network):
        shutil.rmtree(arriving)
        raise NodeError(
            "wrong-base", "What the parent listed is not the network's base; it was deleted."
        )
    if folder.exists():
        _set_aside(folder)
    arriving.replace(folder)
    for file in manifest.files:
        fetcher.moved(file.sha256, folder / file.name)
    log.info("base-fetched", folder=str(folder), bytes=manifest.total)
    fetcher.announce([manifest_digest, *(file.sha256 for file in manifest.files)])


def _is_here(path: Path, file: BaseFile) -> bool:
    try:
        return path.stat().st_size == file.length and sha256_of(path) == file.sha256
    except OSError:
        return False


def _remove_others(manifest: Manifest) -> None:
    """Delete what an earlier list left half-way."""
    wanted = {manifest.folder / file.name for file in manifest.files}
    for path in manifest.folder.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()


def _set_aside(folder: Path) -> None:
    """Rename what is not the network's base, in place of what was set aside before."""
    aside = folder.with_name(f"{folder.name}.old")
    if aside.exists():
        shutil.rmtree(aside)
    folder.replace(aside)


def _check_room(manifest: Manifest) -> None:
    # Blocks, not lengths: a file that arrives in parts has its whole length from the start.
    paths = manifest.folder.rglob("*")
    here = sum(path.stat().st_blocks * 512 for path in paths if path.is_file())
    free, lacking = shutil.disk_usage(manifest.folder).free, manifest.total - here
    if lacking > free:
        raise NodeError(
            "no-room",
            f"The base takes {manifest.total:,} bytes, {lacking:,} more than are here; "
            f"{free:,} are free in {manifest.folder.parent}. Free some space.",
        )
