"""Bundles: what a parent's operator hands to a new member, as one zip file of bounded size.

Nothing in a bundle is verified here but its form; ``enrolment.join`` verifies what it says.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass

from nodes.config.addresses import distinct
from nodes.config.reach import MOST_ADDRESSES
from nodes.errors import NodeError

MAX_BUNDLE_BYTES = 256 * 1024 * 1024
_PARTS = re.compile(r"network\.env|path/\d\d\.env|layout\.json|basis\.safetensors|link\.json")
_MOST_PARTS = 128
_ENTRY = b"PK\x01\x02"  # begins each part's entry in the list at the end of a zip file
_FLAGS = 0x61  # encrypted, a patch of another file, strongly encrypted


@dataclass(frozen=True)
class Bundle:
    """The parts of a bundle.

    Attributes:
        network: the envelope of the network's statement.
        path: the envelopes of the certificates from the root to the new member.
        layout: which layers an adapter covers, JSON.
        basis: the fixed matrices A, safetensors.
        addresses: where the parent is reached, ``host:port``, the best first.
        authority: what the parent's TLS certificate must chain to, PEM.
        doors: where it answers whoever joins or renews, likewise; none from an earlier version.
    """

    network: bytes
    path: tuple[bytes, ...]
    layout: str
    basis: bytes
    addresses: tuple[str, ...]
    authority: bytes
    doors: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Write the zip file."""
        link = {
            "addresses": list(self.addresses),
            "ca": self.authority.decode("ascii"),
            "doors": list(self.doors),
        }
        parts = {
            "network.env": self.network,
            "layout.json": self.layout.encode(),
            "basis.safetensors": self.basis,
            "link.json": json.dumps(link).encode(),
        }
        parts |= {f"path/{i:02}.env": envelope for i, envelope in enumerate(self.path)}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
        return buffer.getvalue()

    @classmethod
    def decode(cls, data: bytes) -> Bundle:
        """Read a zip file. Raises ``NodeError`` ``bad-bundle``."""
        parts = _unzip(data)
        try:
            link = json.loads(parts["link.json"])
            authority = link["ca"]
            addresses = link["addresses"] if "addresses" in link else [link["address"]]
            doors = link.get("doors", [])
            if not (isinstance(addresses, list) and isinstance(doors, list)):
                raise TypeError("the addresses are no list")
            if not all(isinstance(text, str) for text in (authority, *addresses, *doors)):
                raise TypeError("the link is not text")
            return cls(
                network=parts["network.env"],
                path=tuple(parts[name] for name in sorted(parts) if name.startswith("path/")),
                layout=parts["layout.json"].decode("utf-8"),
                basis=parts["basis.safetensors"],
                addresses=_parsed(addresses),
                authority=authority.encode("ascii"),
                doors=_parsed(doors, least=0),
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise NodeError("bad-bundle", f"The bundle is damaged: {error}.") from None


def _parsed(addresses: list[str], least: int = 1) -> tuple[str, ...]:
    """Read the parent's addresses. Raises ``ValueError``."""
    try:
        parsed = distinct(addresses)
    except NodeError as error:
        raise ValueError(error.sentence.rstrip(".")) from None
    if not least <= len(parsed) <= MOST_ADDRESSES:
        raise ValueError(f"it names {len(parsed)} addresses")
    return parsed


def _unzip(data: bytes) -> dict[str, bytes]:
    """Read the parts: each once, stored, and together of bounded size.

    What the file says of itself is checked against its length before anything of that size is read.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise NodeError("bad-bundle", f"The bundle has over {MAX_BUNDLE_BYTES} bytes.")
    if data.count(_ENTRY) > _MOST_PARTS:  # each would become an object before any is looked at
        raise NodeError("bad-bundle", f"The bundle has over {_MOST_PARTS} parts.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if not all(map(_PARTS.fullmatch, names)) or len(set(names)) != len(names):
                raise NodeError("bad-bundle", "The bundle holds files that do not belong there.")
            if any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & _FLAGS for e in entries):
                raise NodeError("bad-bundle", "The bundle holds files that are not plainly stored.")
            if any(entry.file_size != entry.compress_size for entry in entries):
                raise NodeError("bad-bundle", "The bundle gives two sizes for one part.")
            if sum(entry.file_size for entry in entries) > len(data):
                raise NodeError("bad-bundle", "The bundle says that it is larger than it is.")
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise NodeError("bad-bundle", f"This is not a bundle: {error}.") from None
