"""What a process takes of its machine, sampled, and whether that grows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nodes.dashboard.status import Status
from nodes.machine.process_memory import proportional_bytes, with_descendants

TEXT = ("text", "inbox", "base", "replay.sqlite", "replay.key", "arrivals.sqlite")
"""What the policy does not count, by the beginnings of names in a state folder."""


@dataclass(frozen=True)
class Sample:
    """One node at one moment.

    Attributes:
        at_s: seconds since the start.
        pss: proportional set size of its processes, bytes; 0 while it is away.
        descriptors: that they hold open.
        disk: bytes of its folder, beside base and text.
        rounds: that it has opened. releases: that rounds made. version: of its adapter.
    """

    node: str
    at_s: float
    pss: int
    descriptors: int
    disk: int
    rounds: int
    releases: int
    version: int


def sample(node: str, folder: Path, pid: int | None, status: Status, at_s: float) -> Sample:
    """Look at a node; its process may be away (``pid`` None) or end meanwhile."""
    pids = with_descendants(pid) if pid is not None else []
    return Sample(
        node=node,
        at_s=round(at_s, 1),
        pss=proportional_bytes(pids),
        descriptors=sum(map(_descriptors, pids)),
        disk=disk_bytes(folder),
        rounds=status.round,
        releases=status.releases["round"],
        version=status.version,
    )


def disk_bytes(folder: Path) -> int:
    """Sum the sizes of a state folder's files, in bytes, beside base and text."""
    total = 0
    for path, names, files in os.walk(folder):
        if Path(path) == folder:
            names[:] = [name for name in names if not name.startswith(TEXT)]
            files = [file for file in files if not file.startswith(TEXT)]
        for file in files:
            try:
                total += (Path(path) / file).stat().st_size
            except FileNotFoundError:  # a temporary file, or an artefact that was collected
                continue
    return total


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """The Theil-Sen slope of points (x, y): the median of the slopes of all pairs.

    Up to 29 % of the points may be anywhere, such as those in the middle of a training run,
    without moving it far. 0 for fewer than two points.
    """
    if len(samples) < 2:
        return 0.0
    x, y = np.asarray(samples, np.float64).T
    first, second = np.triu_indices(len(x), 1)
    apart = x[second] - x[first]
    kept = apart > 0
    if not kept.any():
        return 0.0
    return float(np.median((y[second] - y[first])[kept] / apart[kept]))


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  of a folder that may vanish
    except OSError:
        return 0
