"""A circle on loopback for the bench: an origin and receivers, an artefact, and a limited link."""

from __future__ import annotations

import datetime
import hashlib
import logging
import random
import resource
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import psutil
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nodes.trust.tls import link_authority, peer_name
from protocol import NodeId, digest_of

Endpoint = tuple[str, int]
OnProgress = Callable[[int, int], None]
"""Told of the bytes that are here, and of all."""

_PART = 4 * 1024 * 1024
_WEEK = datetime.timedelta(days=7)
_STAGES = 100
"""So often a process says how much is here."""


@dataclass(frozen=True)
class Artefact:
    """A file of random bytes, and the digest it is asked for by."""

    path: Path
    length: int
    digest: str


@dataclass(frozen=True)
class Member:
    """One member of the circle. ``part``: ``origin``, ``receiver`` or ``liar``."""

    node: NodeId
    part: str
    host: str
    folder: Path
    link: bytes
    key: bytes

    @property
    def place(self) -> Path:
        """Where the artefact goes."""
        return self.folder / "artefact"


@dataclass(frozen=True)
class Circle:
    """All that a process must know. ``members``: the origin first. ``rate``: bytes a second that
    each member may send, 0 without a limit."""

    authority: bytes
    members: tuple[Member, ...]
    artefact: Artefact
    rate: int

    @property
    def origin(self) -> Member:
        """The parent, which alone has the artefact in the beginning."""
        return self.members[0]

    @property
    def receivers(self) -> tuple[Member, ...]:
        """Those who want it."""
        return tuple(member for member in self.members if member.part == "receiver")


@dataclass(frozen=True)
class Figures:
    """What one process did: bytes of artefacts sent and got, bytes thrown away as wrong, CPU
    seconds, memory of its own in MB, and the members it accuses."""

    sent: int = 0
    got: int = 0
    wrong: int = 0
    cpu_s: float = 0.0
    memory_mb: float = 0.0
    accused: tuple[Endpoint, ...] = ()


def make_artefact(folder: Path, length: int, seed: int) -> Artefact:
    """Write a file of ``length`` random bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path, draw, digest = folder / "given", random.Random(seed), hashlib.sha256()  # noqa: S311
    with path.open("wb") as file:
        for start in range(0, length, _PART):
            part = draw.randbytes(min(_PART, length - start))
            digest.update(part)
            file.write(part)
    return Artefact(path, length, digest.hexdigest())


def make_circle(folder: Path, artefact: Artefact, receivers: int, rate: int, liars: int) -> Circle:
    """Certify an origin and its receivers; the last ``liars`` of them give wrong bytes."""
    now = datetime.datetime.now(datetime.UTC)
    authority = link_authority(folder / "tls", None, now)
    members = []
    for number in range(receivers + 1):
        node = NodeId(digest_of(f"{folder.name} {number}".encode()))
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(peer_name(node))]
        link = authority.issue(key.public_key(), names, now - _WEEK, now + _WEEK)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        part = "origin" if number == 0 else "liar" if number > receivers - liars else "receiver"
        place = folder / f"{number:02d}"
        place.mkdir(parents=True)
        members.append(Member(node, part, _address(number), place, link, private))
    pem = authority.certificate.public_bytes(Encoding.PEM)
    return Circle(pem, tuple(members), artefact, rate)


def _address(number: int) -> str:
    """An address of its own on loopback for each member, where the system has so many."""
    address = f"127.0.1.{number + 1}"
    try:
        with socket.socket() as probe:
            probe.bind((address, 0))
    except OSError:
        return "127.0.0.1"
    return address


class Bucket:
    """Lets so many bytes a second pass, with a fifth of a second's worth at once."""

    def __init__(self, rate: int) -> None:
        self._rate, self._lock, self._free_at = rate, threading.Lock(), 0.0

    def wait_s(self, count: int) -> float:
        """Let ``count`` bytes pass; return how many seconds to wait for that."""
        if not self._rate:
            return 0.0
        with self._lock:
            now = time.monotonic()
            begins = max(self._free_at, now - 0.2)
            self._free_at = begins + count / self._rate
        return max(0.0, begins - now)


class Peer(Protocol):
    """One member's end of the bench, in one of the two ways."""

    def start(self) -> Endpoint:
        """Listen; return where."""
        ...

    def fetch(self, everybody: Sequence[tuple[Member, Endpoint]], told: OnProgress) -> None:
        """Fetch the artefact into the member's place, and give it on; ``told`` of progress."""
        ...

    def figures(self) -> Figures:
        """Return what this member did so far, without CPU and memory."""
        ...

    def stop(self) -> None:
        """End."""
        ...


def serve(pipe: Connection, peer: Peer) -> None:
    """Do in a process what its owner asks through the pipe, until it closes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    pipe.send(("at", peer.start()))
    lock, stage = threading.Lock(), [0]

    def told(done: int, total: int) -> None:
        with lock:
            if done * _STAGES >= (stage[0] + 1) * total:
                stage[0] = done * _STAGES // total
                pipe.send(("here", done))

    def fetch(everybody: Sequence[tuple[Member, Endpoint]]) -> None:
        begun = time.monotonic()
        try:
            peer.fetch(everybody, told)
        except Exception as error:
            with lock:
                pipe.send(("failed", str(error)))
            return
        with lock:
            pipe.send(("done", time.monotonic() - begun))

    try:
        while True:
            what, value = pipe.recv()
            if what == "fetch":
                threading.Thread(target=fetch, args=[value], daemon=True).start()
            elif what == "figures":
                with lock:
                    pipe.send(("figures", _with_costs(peer.figures())))
    except EOFError:
        peer.stop()


def _with_costs(figures: Figures) -> Figures:
    used = resource.getrusage(resource.RUSAGE_SELF)
    memory = psutil.Process().memory_full_info().uss / 1e6
    return replace(figures, cpu_s=used.ru_utime + used.ru_stime, memory_mb=memory)
