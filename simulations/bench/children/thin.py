"""Children without learning: real links, keys, envelopes and chains; a payload made beforehand.

Many live in one process, a thread each for the link as in a node. What they must remember goes to
one file that all of a process share; nothing of it outlives the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from nodes.child.child import Child
from nodes.child.offer import Offer
from nodes.config.sections import ModelSettings, NodeConfig
from nodes.flower.environment import prepare_environment
from nodes.learning.engine import TorchEngine
from nodes.machine.clock import SystemClock
from nodes.machine.logs import configure
from nodes.model.layout import Layout
from nodes.state.home import Home
from nodes.state.node import Node
from protocol import (
    PayloadFormat,
    SigningKey,
    Task,
    decode_adapter,
    encode_delta,
    verify_path,
)
from simulations.world.problems import PointCorpus
from simulations.world.storage import AppendFile, FileArtefacts, Place, file_storage

NOISE = 1.0
"""The length of what is random in an update, in lengths of what all have in common."""
_FEWER = 4096
"""An update's first block shrinks by one part of so many each time, so that no two are the same."""


@dataclass(frozen=True)
class ThinMember:
    """A child that was enrolled: its number, its keys, its certificates from the root on."""

    number: int
    identity: bytes
    transport: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Circle:
    """What all children know: their network, where their parent is, what they have in common.

    ``step`` is the file of the vector that every update goes along.
    """

    network: bytes
    layout: str
    address: str
    authority: bytes
    step: Path
    seed: int


def live(circle: Circle, members: Sequence[ThinMember], folder: Path) -> None:
    """Answer the parent's tasks as these children until the process is told to end."""
    configure(folder / "node.jsonl", "warning", folder.name, stderr=False)
    prepare_environment(folder / "flower")
    stop = threading.Event()
    family = _Family(circle)
    threads = [
        threading.Thread(target=family.run, args=(member, stop), daemon=True) for member in members
    ]
    try:
        for thread in threads:
            thread.start()
        while True:
            time.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join(2)


class _Family:
    """What the children of one process share."""

    def __init__(self, circle: Circle) -> None:
        self._circle, self._clock = circle, SystemClock()
        self._layout = Layout.from_json(circle.layout)
        self._file = _SharedFile()
        self._artefacts = FileArtefacts(self._file)
        self._step = decode_adapter(circle.step.read_bytes(), self._layout.size)
        self._nothing = np.zeros(self._layout.size, np.float32)
        self._making = threading.Lock()

    def run(self, member: ThinMember, stop: threading.Event) -> None:
        """Live as one child."""
        from nodes.flower.apps import make_client_app
        from nodes.flower.uplink import Uplink, empty_context

        circle = self._circle
        uplink = Uplink([circle.address], circle.authority, member.transport, poll_s=0.5)
        uplink.run(make_client_app(self._child(member, stop)), empty_context(), stop)

    def _child(self, member: ThinMember, stop: threading.Event) -> Child:
        with self._making:  # one after the other: each takes megabytes only while it is made
            home, config = self._home(member), NodeConfig()
            node = Node(
                home, self._clock, file_storage(self._file, self._artefacts, self._clock.now_ms)
            )
            engine = TorchEngine(home, ModelSettings(), stop)  # loads nothing: nobody asks it
            return Child(
                node,
                config,
                engine,
                PointCorpus({}),
                offers=_Ready(self._nothing),
                encode=_Payload(self._update(member.number)),
            )

    def _home(self, member: ThinMember) -> Home:
        network, path = verify_path(self._circle.network, member.path, now_ms=self._clock.now_ms())
        key = SigningKey(Ed25519PrivateKey.from_private_bytes(member.identity))
        return Home(
            Path("thin") / str(member.number),
            key,
            member.transport,
            network,
            self._circle.network,
            path,
            member.path,
            self._layout,
        )

    def _update(self, number: int) -> bytes:
        rng = np.random.default_rng((self._circle.seed, number))
        noise = rng.standard_normal(self._layout.size, np.float32)
        noise *= np.float32(NOISE * np.linalg.norm(self._step) / np.linalg.norm(noise))
        return encode_delta(self._step + noise, PayloadFormat.INT8)


class _Ready:
    """Offers without learning; what is sent for them is in the payload."""

    def __init__(self, delta: NDArray[np.float32]) -> None:
        self._delta = delta

    def offer(self, task: Task) -> Offer:
        """Offer at once."""
        return Offer(self._delta, task.version, 1, 1)


class _Payload:
    """Writes one update again and again, each time with another first scale."""

    def __init__(self, data: bytes) -> None:
        self._data, self._count = data, 0
        self._at = 8 + int.from_bytes(data[:8], "little")  # safetensors: float32 comes first

    def __call__(self, _: NDArray[np.float32], form: PayloadFormat) -> bytes:
        assert form is PayloadFormat.INT8  # noqa: S101  what the parent is configured for
        self._count += 1
        data = bytearray(self._data)
        scale = np.frombuffer(data, "<f4", 1, self._at)
        scale *= np.float32(1 - self._count / _FEWER)
        return bytes(data)


class _SharedFile(AppendFile):
    """A file to which several threads append."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        super().__init__(path)

    def put(self, data: bytes) -> Place:
        """Append."""
        with self._lock:
            return super().put(data)
