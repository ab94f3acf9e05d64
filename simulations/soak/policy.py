"""What a node may keep on disk in a year of one release a day, and what a tiny one says of that.

A tiny base has tiny adapters. What grows with an adapter is counted as if it were SmolLM2's, and
what does not (ledger, envelopes, logs) as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nodes.machine.clock import SystemClock
from nodes.state.artefacts import ArtefactStore
from nodes.state.home import open_home
from protocol import Role
from simulations.soak.growth import disk_bytes
from simulations.soak.network import Network

LIMITS_MB = {Role.DEVICE: 200.0, Role.INTERIOR: 1000.0, Role.ROOT: 1000.0}
REAL_SIZE = 368_640
"""Values of an adapter of SmolLM2-135M with the default targets and rank."""


@dataclass(frozen=True)
class Check:
    """Something that must hold, and what was found."""

    name: str
    holds: bool
    found: str


def real_bytes(folder: Path, size: int) -> int:
    """The bytes of a state folder, beside base and text, if its adapters were of real size.

    Args:
        size: values of an adapter here. Artefacts of at least so many bytes, one a value, are
            vectors; smaller ones are statements.
    """
    store = ArtefactStore(folder / "artefacts")
    vectors = sum(n for n in map(store.size, store.digests()) if n >= size)
    return disk_bytes(folder) - vectors + round(vectors * REAL_SIZE / size)


def within_policy(network: Network) -> list[Check]:
    """Whether every node's disk is within what a year may take."""
    found = []
    for place in network.placed:
        home = open_home(place.folder, SystemClock().now_ms())
        megabytes = real_bytes(place.folder, home.layout.size) / 1e6
        found.append((place.plan.name, megabytes, LIMITS_MB[place.plan.role]))
    over = [
        f"{name} {megabytes:.0f} of {limit:.0f} MB"
        for name, megabytes, limit in found
        if megabytes > limit
    ]
    largest = ", ".join(f"{name} {megabytes:.1f}" for name, megabytes, _ in found)
    return [
        Check(
            "disk is within the policy, at the size of SmolLM2's adapters",
            not over,
            "; ".join(over) or f"MB: {largest}",
        )
    ]
