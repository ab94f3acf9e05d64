"""What a node gives to the members of one circle, and nothing else of what it has.

That is: adapters of releases (``nodes.releases.public``), the basis, the base's files and their
list. A digest is looked up in what is public; the artefact store is only read for what was found.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from nodes.errors import NodeError
from nodes.machine.files import write_file
from nodes.peers.artefacts.manifest import Manifest, sha256_of
from nodes.releases.public import public_adapters
from nodes.state.artefacts import ArtefactError
from nodes.state.node import Node
from protocol import Digest, digest_of
from protocol.ids import is_digest

log = structlog.get_logger()

MAX_OFFERED = 64
"""Small artefacts that are kept in memory to be given."""
_REMEMBERED = "base-files.json"


@dataclass(frozen=True)
class Shelved:
    """An artefact that may be given. ``read`` takes an offset and a length, in bytes, and returns
    fewer bytes at the end; it raises ``ArtefactError`` where the artefact is gone or damaged."""

    digest: Digest
    length: int
    read: Callable[[int, int], bytes]


class DescribedBase:
    """The base of one node, its files by their digests.

    A file is digested once: while its size and its time are the same, what ``memory`` says holds,
    also after a restart.
    """

    def __init__(self, folder: Path, memory: Path) -> None:
        self._folder, self._memory = folder, memory
        self._lock = threading.Lock()
        self._manifest: Manifest | None = None
        self._encoded, self._stamps = b"", dict[str, tuple[int, int]]()

    @classmethod
    def of(cls, node: Node, folder: Path) -> DescribedBase:
        """Describe the base of a node, remembered in its state folder."""
        return cls(folder, node.home.folder / _REMEMBERED)

    @property
    def manifest(self) -> Manifest | None:
        """The list of the files; None where there is no base. May digest gigabytes, once."""
        with self._lock:
            if self._manifest is None:
                self._describe()
            return self._manifest

    def find(self, digest: Digest) -> Shelved | None:
        """Find a file of the base, or the list itself."""
        manifest = self.manifest
        if manifest is None:
            return None
        if digest == digest_of(self._encoded):
            return in_memory(digest, self._encoded)
        file = next((file for file in manifest.files if file.sha256 == digest), None)
        if file is None:
            return None
        path, stamp = manifest.folder / file.name, self._stamps[file.name]
        if _stamp(path) != stamp:
            with self._lock:
                self._manifest = None  # described anew by whoever asks next
            return None
        return Shelved(digest, file.length, _reader(path, digest, stamp))

    def _describe(self) -> None:
        known = self._recall()
        stamps: dict[str, tuple[int, int]] = {}

        def sha256(path: Path) -> Digest:
            name, stamp = path.relative_to(self._folder).as_posix(), _stamp(path)
            stamps[name] = stamp
            before = known.get(name)
            if isinstance(before, list) and before[:2] == [*stamp] and is_digest(before[-1]):
                return Digest(str(before[-1]))
            return sha256_of(path)

        try:
            manifest = Manifest.of_folder(self._folder, sha256)
        except (NodeError, OSError) as error:
            log.debug("base-not-given", folder=str(self._folder), why=str(error))
            return
        self._manifest, self._encoded, self._stamps = manifest, manifest.encode(), stamps
        described = {f.name: [*stamps[f.name], f.sha256] for f in manifest.files}
        if described != known:
            with suppress(OSError):  # else digested again after a restart
                write_file(self._memory, json.dumps(described).encode())

    def _recall(self) -> dict[str, object]:
        try:
            known = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


class Shelf:
    """What one node gives to the members of one circle.

    Args:
        own: whether they may have the adapters of this node's own releases: its children may, its
            siblings and its parent have no use for them.
    """

    def __init__(self, node: Node, base: DescribedBase | None, *, own: bool) -> None:
        self._node, self._base, self._own = node, base, own
        self._lock = threading.Lock()
        self._public: tuple[object, frozenset[Digest]] | None = None
        self._sound: set[Digest] = set()
        self._offered: OrderedDict[Digest, bytes] = OrderedDict()

    @property
    def manifest(self) -> Digest:
        """The digest of the list of the base's files; empty where there is no base."""
        manifest = self._base.manifest if self._base else None
        return manifest.digest if manifest else Digest("")

    def offer(self, data: bytes) -> Digest:
        """Give something small that was made for this circle, such as a swarm's description.

        The newest ``MAX_OFFERED`` are kept, in memory.
        """
        digest = digest_of(data)
        with self._lock:
            self._offered[digest] = data
            self._offered.move_to_end(digest)
            while len(self._offered) > MAX_OFFERED:
                self._offered.popitem(last=False)
        return digest

    def find(self, digest: Digest) -> Shelved | None:
        """Find what members of the circle may have; None of anything else, there or not."""
        with self._lock:
            offered = self._offered.get(digest)
        if offered is not None:
            return in_memory(digest, offered)
        home = self._node.home
        if digest in self._adapters():
            return self._stored(digest)
        if digest == home.network.basis:
            path = home.basis_file
            stamp = _stamp(path)
            return Shelved(digest, stamp[0], _reader(path, digest, stamp))
        return self._base.find(digest) if self._base else None

    def _adapters(self) -> frozenset[Digest]:
        """Return the public adapters; computed again when a release came."""
        state = self._node.state
        known = self._public
        stands = (state.above.links, state.own.latest, len(state.own.releases))
        if known is None or known[0] != stands:
            with self._node.lock:
                stands = (state.above.links, state.own.latest, len(state.own.releases))
                known = self._public = (stands, public_adapters(state, own=self._own))
        return known[1]

    def _stored(self, digest: Digest) -> Shelved | None:
        artefacts = self._node.artefacts
        try:
            length = artefacts.size(digest)
        except ArtefactError:
            return None  # kept no longer

        def read(offset: int, part: int) -> bytes:
            if digest not in self._sound:
                artefacts.get(digest)  # raises if it is damaged: nobody is to be given that
                self._sound = (self._sound & self._adapters()) | {digest}
            return artefacts.part(digest, offset, part)

        return Shelved(digest, length, read)


def in_memory(digest: Digest, data: bytes) -> Shelved:
    """Make bytes readable as an artefact."""
    return Shelved(digest, len(data), lambda offset, length: data[offset : offset + length])


def _stamp(path: Path) -> tuple[int, int]:
    """Return what a file's content is recognised by; (-1, 0) of one that is not there."""
    try:
        found = path.stat()
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns


def _reader(path: Path, digest: Digest, stamp: tuple[int, int]) -> Callable[[int, int], bytes]:
    def read(offset: int, length: int) -> bytes:
        gone = ArtefactError("missing-artefact", f"{path} is another file than before.", digest)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise gone from None
        try:
            opened = os.fstat(descriptor)
            if (opened.st_size, opened.st_mtime_ns) != stamp:
                raise gone
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    return read
