"""Members of a circle with swarms on loopback, each at an address of its own."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nodes.peers.swarm import engine
from nodes.peers.swarm.description import Description, describe
from nodes.peers.swarm.session import Swarm
from nodes.trust.tls import Authority, link_authority

needs_libtorrent = pytest.mark.skipif(not engine.is_installed(), reason=engine.MISSING)
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def link(
    authority: Authority, end: datetime.datetime = NOW + DAY, start: datetime.datetime = NOW - DAY
) -> tuple[bytes, bytes]:
    """A link certificate for a new key, and the key; both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = authority.issue(key.public_key(), [x509.DNSName("member.banyan")], start, end)
    return pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def pem_of(authority: Authority) -> bytes:
    return authority.certificate.public_bytes(Encoding.PEM)


@dataclass
class Artefact:
    """A file of random bytes, and what a swarm must know of it."""

    path: Path
    data: bytes
    torrent: bytes = b""
    digest: str = ""

    @classmethod
    def made(cls, path: Path, length: int, seed: int = 0) -> Artefact:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = random.Random(seed).randbytes(length)
        path.write_bytes(data)
        return cls(path, data, describe(path), hashlib.sha256(data).hexdigest())


@dataclass
class Circle:
    """A circle's authority, and the swarms that a test opened in it."""

    folder: Path
    authority: Authority = field(init=False)
    count: int = 0
    swarms: list[Swarm] = field(default_factory=list)
    sessions: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.authority = link_authority(self.folder / "tls", None, NOW)

    def address(self) -> str:
        self.count += 1
        return f"127.0.0.{self.count}"

    def member(self, **options: Any) -> Swarm:
        host = options.pop("host", None) or self.address()
        certificate, key = options.pop("pair", None) or link(self.authority)
        folder = options.pop("folder", None) or self.folder / f"member-{host}"
        authority = pem_of(self.authority)
        swarm = Swarm(folder, authority, certificate, key, host, 0, **options)
        self.swarms.append(swarm)
        return swarm

    def at(self, swarm: Swarm) -> tuple[str, int]:
        """The address of a member's swarm."""
        return f"127.0.0.{1 + self.swarms.index(swarm)}", swarm.port

    def stranger(self, torrent: bytes, folder: Path, pair: tuple[bytes, bytes] | None) -> Any:
        """A libtorrent handle that wants the artefact, with a certificate or none."""
        session = engine.open_session(self.address(), 0, None)
        self.sessions.append(session)
        folder.mkdir(parents=True, exist_ok=True)
        wanted = engine.parameters(
            Description.decode(torrent), folder / "got", pem_of(self.authority).decode(), 0
        )
        handle = session.add_torrent(wanted)
        if pair:
            handle.set_ssl_certificate_buffer(pair[0].decode(), pair[1].decode(), "")
        return handle

    def liar(self, artefact: Artefact, folder: Path) -> tuple[str, int]:
        """A member that gives other bytes under the artefact's torrent; where it is."""
        lt: Any = importlib.import_module("libtorrent")
        host = self.address()
        session = engine.open_session(host, 0, None)
        session.apply_settings({"disable_hash_checks": True})
        self.sessions.append(session)
        folder.mkdir(parents=True)
        (folder / "bad").write_bytes(bytes(byte ^ 1 for byte in artefact.data))
        description, flags = Description.decode(artefact.torrent), lt.torrent_flags
        mode = flags.seed_mode | flags.upload_mode
        authority = pem_of(self.authority).decode()
        handle = session.add_torrent(
            engine.parameters(description, folder / "bad", authority, mode)
        )
        pem, key = link(self.authority)
        handle.set_ssl_certificate_buffer(pem.decode(), key.decode(), "")
        return host, session.ssl_listen_port()


@contextmanager
def circle(folder: Path) -> Iterator[Circle]:
    made = Circle(folder)
    try:
        yield made
    finally:
        for swarm in made.swarms:
            swarm.close()
        made.sessions.clear()
