"""One parent and more and more children: time, memory, CPU, and who fails.

The parent is the production daemon in its own process, over TLS on loopback. Its children are thin
(``thin``): everything is real but their learning.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from nodes.daemon import run as run_daemon
from nodes.errors import NodeError
from simulations.bench.children.circle import Prepared, prepare
from simulations.bench.children.measure import (
    Round,
    Sample,
    Watch,
    cpu_of,
    rounds_of,
    warnings,
)
from simulations.bench.children.thin import live
from simulations.processes import Supervisor
from simulations.tables import formatted

_MB = 1e6


@dataclass(frozen=True)
class ChildrenScale:
    """How much is measured.

    Attributes:
        rounds: of each number of children; the first, in which they connect, stands by itself.
        processes: in which the children live.
        settle_s: how long the parent rests before its settled memory is measured.
        limit_s: for the rounds of one number of children.
    """

    counts: Sequence[int] = (20, 50, 100, 200)
    rounds: int = 4
    processes: int = 2
    settle_s: float = 40.0
    limit_s: float = 420.0
    seed: int = 0


def run(scale: ChildrenScale, cache: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure every number of children, one after the other; a row each.

    Raises ``NodeError``: ``no-data``, ``node-died``.
    """
    rows = []
    for children in scale.counts:
        with tempfile.TemporaryDirectory(prefix="banyan-children-") as temporary:
            folder = Path(temporary)
            say(f"{children} children: enrolling")
            made = prepare(folder, cache, children, scale.rounds, scale.seed, say)
            say(f"{children} children: {scale.rounds} rounds")
            rows.append(_measured(made, folder, scale))
    return rows


def _measured(made: Prepared, folder: Path, scale: ChildrenScale) -> dict[str, Any]:
    folders = [folder / f"children-{number}" for number in range(scale.processes)]
    with Supervisor({}) as supervisor:
        parent = supervisor.start(
            run_daemon, made.home.folder / "node.toml", log=folder / "parent.log"
        )
        assert parent.pid is not None  # noqa: S101  it was started just now
        with Watch(parent.pid) as watch:
            for number, its in enumerate(folders):
                mine = made.members[number :: scale.processes]
                supervisor.start(live, made.circle, mine, its, log=its / "console.log")
            ended = _wait(made.home.folder, scale, lambda: parent.exitcode)
            theirs = [pid for pid in supervisor.pids if pid != parent.pid]
            childrens_cpu = cpu_of(theirs)
            time.sleep(scale.settle_s)
            complaints = warnings(folders)  # of their end there would be more
        rounds = rounds_of(made.home.folder)
    return _row(len(made.members), rounds, watch, ended, childrens_cpu, complaints)


def _wait(folder: Path, scale: ChildrenScale, exit_status: Callable[[], int | None]) -> int:
    """Wait for the rounds to end or for the time to be over; return when that was, ms."""
    until = time.monotonic() + scale.limit_s
    while time.monotonic() < until:
        if (status := exit_status()) is not None:
            why = (folder.parent / "parent.log").read_text("utf-8", "replace")[-500:]
            raise NodeError("node-died", f"The parent ended with status {status}: {why}")
        if (folder / "ledger.sqlite").exists():
            made = rounds_of(folder)
            if sum(1 for each in made if each.ended_ms) >= scale.rounds:
                break
        time.sleep(0.5)
    return time.time_ns() // 1_000_000


def _row(
    children: int,
    rounds: Sequence[Round],
    watch: Watch,
    ended_ms: int,
    childrens_cpu: float,
    complaints: Mapping[str, int],
) -> dict[str, Any]:
    done = [each for each in rounds if each.ended_ms]
    later = done[1:]
    during = watch.between(0, ended_ms)
    after = watch.between(ended_ms, time.time_ns() // 1_000_000)
    settled = after[-1] if after else during[-1]
    waiting = after[len(after) // 2 :]
    measured = watch.between(done[0].ended_ms, later[-1].ended_ms) if later else []
    return {
        "children": children,
        "rounds": len(done),
        "outcomes": [each.outcome for each in done],
        "seconds": [each.seconds for each in done],
        "median_s": statistics.median(each.seconds for each in later) if later else None,
        "collect_s": _median((e.collected_ms - e.opened_ms) / 1000 for e in later),
        "aggregate_s": _median((e.aggregated_ms - e.collected_ms) / 1000 for e in later),
        "missing": [each.missing for each in done],
        "refused": [dict(each.refused) for each in done],
        "peak_rss_mb": max(s.rss for s in during) / _MB,
        "peak_pss_mb": max(s.pss for s in during) / _MB,
        "peak_all_mb": max(s.all_pss for s in during) / _MB,
        "settled_mb": settled.pss / _MB,
        "settled_all_mb": settled.all_pss / _MB,
        "cpu_ms": _spent(measured, "cpu", children * len(later)),
        "all_cpu_ms": _spent(measured, "all_cpu", children * len(later)),
        "childrens_cpu_ms": 1000 * childrens_cpu / (children * max(1, len(done))),
        "waiting_cores": _cores(waiting),
        "descriptors": max(s.descriptors for s in during),
        "threads": max(s.threads for s in during),
        "complaints": dict(complaints),
    }


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return statistics.median(listed) if listed else None


def _spent(samples: Sequence[Sample], what: str, parts: int) -> float | None:
    """CPU milliseconds from the first to the last sample, for each of so many parts."""
    if not samples or not parts:
        return None
    return float(1000 * (getattr(samples[-1], what) - getattr(samples[0], what)) / parts)


def _cores(samples: Sequence[Sample]) -> float | None:
    """CPU seconds a second."""
    if len(samples) < 2:
        return None
    return 1000 * (samples[-1].cpu - samples[0].cpu) / (samples[-1].at_ms - samples[0].at_ms)


def tables(result: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    """Time and failures, then what the parent took."""
    rows = [
        {
            **row,
            "lost": " ".join(map(str, row["missing"])),
            "no": sum(sum(refused.values()) for refused in row["refused"]),
            "first_s": row["seconds"][0] if row["seconds"] else None,
            "releases": row["outcomes"].count("released"),
        }
        for row in result
    ]
    yield formatted(
        "Rounds: seconds in the median of all but the first",
        {"children": "{children}", "rounds": "{rounds}", "released": "{releases}"}
        | {"first": "{first_s:.1f}", "a round": "{median_s:.1f}", "collect": "{collect_s:.1f}"}
        | {"aggregate": "{aggregate_s:.1f}", "missing in each": "{lost}", "refused": "{no}"}
        | {"complaints": "{complaints}"},
        rows,
    )
    yield formatted(
        "The parent: MB (proportional), with the process that computes for it in brackets",
        {"children": "{children}", "peak": "{peak_pss_mb:.0f} ({peak_all_mb:.0f})"}
        | {"settled": "{settled_mb:.0f} ({settled_all_mb:.0f})"}
        | {"CPU ms a child and round": "{cpu_ms:.0f} ({all_cpu_ms:.0f})"}
        | {"of the child": "{childrens_cpu_ms:.0f}", "cores while it waits": "{waiting_cores:.2f}"}
        | {"descriptors": "{descriptors}", "threads": "{threads}"},
        rows,
    )
