"""What a failure case has in hand, and the row of the table that it ends in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from simulations.soak.hazards import Unavailable
from simulations.soak.trial import NAMES, Said, Trial

START_S = 180.0
LISTEN_S = 15.0
"""How long a cause stands before it is put right."""
SHOWN = 3


@dataclass(frozen=True)
class Row:
    """One case.

    Attributes:
        done: what was done, to whom, and what was put right again.
        said: up to three of what the nodes said, the terminal's and the troubles' first.
        status: the exit status of the node, if it ended.
        recovered: ``itself``, ``started again``, a command, or ``no``.
        seconds: from when the cause was put right (or stood) until all devices were heard again.
        note: what else was found.
    """

    case: str
    done: str
    said: tuple[Said, ...]
    status: int | None
    recovered: str
    seconds: float | None
    note: str = ""


@dataclass(frozen=True)
class Limits:
    """How long to wait for a recovery, and where a case may keep what is its own."""

    recover_s: float
    folder: Path


Case = Callable[[Trial, Limits], Row]


def row(
    trial: Trial,
    case: str,
    done: str,
    seconds: float | None,
    by: str = "itself",
    note: str = "",
    node: str = "",
) -> Row:
    """Make the row of a case from what was heard; the node's own words come first."""
    trial.listen()
    order = {"terminal": 0, "troubles": 1, "log": 2}
    said = sorted(trial.said, key=lambda s: (s.node != node, order[s.where]))
    process = trial.processes.get(node)
    status = process.poll() if process else None
    recovered = by if seconds is not None else "no"
    rounded = None if seconds is None else round(seconds, 1)
    return Row(case, done, tuple(said[:SHOWN]), status, recovered, rounded, note)


def wait(trial: Trial, limits: Limits, node: str) -> tuple[float | None, str]:
    """Wait for a recovery; a node that ended is started again once, as a person would."""
    by = "itself"
    if trial.processes[node].poll() is not None:
        trial.start(node)
        by = "started again"
    seconds = trial.works_after(limits.recover_s)
    return seconds, by


def begin(trial: Trial, extra: Mapping[str, Mapping[str, str]] | None = None) -> None:
    """Start all nodes and wait until both devices were heard; what was said before is forgotten.

    Raises ``Unavailable`` when they are not.
    """
    for name in NAMES:
        trial.start(name, extra=(extra or {}).get(name))
    if trial.works_after(START_S) is None:
        raise Unavailable(f"the network did not start; heard: {trial.said[:SHOWN]}")
    trial.forget()


def stop(trial: Trial) -> None:
    """End all nodes, before their disks go."""
    for name in list(trial.processes):
        if trial.processes[name].poll() is None:
            trial.end(name)
