"""Describe an artefact for a swarm as a BitTorrent v2 torrent (BEP 52), from its content alone.

Two nodes that describe the same bytes write the same torrent: one file under a fixed name, a piece
size that follows from the length, no dates, no trackers. What another node wrote is accepted only
if it is exactly what this module would write for some content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodes.errors import NodeError

NAME = "artefact"
"""What the file is called inside every torrent."""
BLOCK = 16 * 1024
"""Bytes that one peer sends at a time."""
LEAST_PIECE = 64 * 1024
"""Pieces of one block lose honest peers: libtorrent asks them for hashes that it then refuses."""
MOST_PIECES = 32 * 1024
MAX_BYTES = 1 << 40

_ZERO = bytes(32)
_FORM = re.compile(
    rb"d4:infod9:file treed8:artefactd0:d6:lengthi([1-9]\d{0,12})e11:pieces root32:(.{32})eee"
    rb"12:meta versioni2e4:name8:artefact12:piece lengthi\d{1,13}ee12:piece layersd"
    rb"(?:32:.{32}\d{1,8}:(.*))?ee",
    re.DOTALL,
)


def piece_length(length: int) -> int:
    """Return the size of a piece of an artefact of ``length`` bytes, a power of two.

    Small as long as the description stays within a megabyte: the smaller the piece, the more
    often one peer sends all of it, and can be blamed for it.
    """
    size = LEAST_PIECE
    while size * MOST_PIECES < length:
        size *= 2
    return size


@dataclass(frozen=True)
class Description:
    """What a swarm must know of an artefact.

    ``root`` is the root of the Merkle tree over its blocks, ``layers`` the hashes of its pieces,
    32 bytes each; empty if there is only one piece.
    """

    length: int
    root: bytes
    layers: bytes

    def encode(self) -> bytes:
        """Write the torrent."""
        layers = b"32:%b%d:%b" % (self.root, len(self.layers), self.layers) if self.layers else b""
        return (
            b"d4:infod9:file treed8:artefactd0:d6:lengthi%de11:pieces root32:%beee"
            b"12:meta versioni2e4:name8:artefact12:piece lengthi%dee12:piece layersd%bee"
            % (self.length, self.root, piece_length(self.length), layers)
        )

    @classmethod
    def decode(cls, torrent: bytes) -> Description:
        """Read what another node wrote. Raises ``NodeError`` ``bad-torrent``."""
        match = _FORM.fullmatch(torrent)
        if match is not None and int(match[1]) <= MAX_BYTES:
            description = cls(int(match[1]), match[2], match[3] or b"")
            if description.encode() == torrent and description._is_whole():
                return description
        raise NodeError("bad-torrent", "The description of an artefact for a swarm is damaged.")

    def _is_whole(self) -> bool:
        """Return whether the hashes of the pieces are as many as there must be, under the root."""
        size = piece_length(self.length)
        pieces = -(-self.length // size)
        if pieces == 1:
            return not self.layers
        if len(self.layers) != pieces * 32:
            return False
        hashes = [self.layers[at : at + 32] for at in range(0, len(self.layers), 32)]
        return _root(hashes, _empty(size)) == self.root


def describe(path: Path) -> bytes:
    """Describe the file at ``path`` as a torrent. Raises ``NodeError`` ``bad-torrent`` for a file
    that is empty or larger than a swarm takes."""
    length = path.stat().st_size
    if not 0 < length <= MAX_BYTES:
        raise NodeError("bad-torrent", f"A swarm cannot carry a file of {length:,} bytes.")
    size, pieces = piece_length(length), list[bytes]()
    with path.open("rb") as file:
        while piece := file.read(size):
            blocks = [_sha(piece[at : at + BLOCK]) for at in range(0, len(piece), BLOCK)]
            # The one piece of a small file is padded to a power of two only.
            whole = size // BLOCK if length > size else 1
            pieces.append(_root(blocks, _ZERO, whole))
    layers = b"".join(pieces) if len(pieces) > 1 else b""
    return Description(length, _root(pieces, _empty(size)), layers).encode()


def _root(hashes: Sequence[bytes], padding: bytes, at_least: int = 1) -> bytes:
    """The root over hashes, filled up with ``padding`` to a power of two, ``at_least`` so many."""
    width = max(at_least, 1 << (len(hashes) - 1).bit_length())
    level = [*hashes, *[padding] * (width - len(hashes))]
    while len(level) > 1:
        level = [_sha(level[at] + level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


def _empty(size: int) -> bytes:
    """The root of a piece that lies behind the end of a file."""
    return _root([_ZERO] * (size // BLOCK), _ZERO)


def _sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
