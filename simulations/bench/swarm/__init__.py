"""One artefact for many: by swarm, and over gRPC alone, through links of the same limit.

Every member is a process with a loopback address of its own; each may send so many bytes a second
to all others together. Nothing limits what it gets.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from nodes.errors import NodeError
from nodes.peers.swarm.description import describe
from simulations.bench.swarm.circle import make_artefact, make_circle
from simulations.bench.swarm.measure import Run, Say, by_libtorrent, over_grpc, run
from simulations.tables import formatted

CASES = (
    "direct",
    "swarm",
    "swarm, no super-seeding",
    "swarm, one liar",
    "swarm, one killed",
    "gRPC alone",
)
"""``direct`` is always measured: the others are compared with it."""
KILL_AT = 0.5


def measure(
    receivers: int,
    size: int,
    rate: int,
    only: Sequence[str] = (),
    *,
    seed: int = 0,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Run the cases; return a row for each.

    Args:
        receivers: members that fetch; of those one is the liar, where there is one.
        size: bytes of the artefact.
        rate: bytes a second that each member may send.
        only: some of ``CASES``.

    Raises ``NodeError``: ``unknown-case``, ``bench-failed``, ``no-swarm``.
    """
    if unknown := set(only) - set(CASES):
        raise NodeError("unknown-case", f"{min(unknown)} is none of: {', '.join(CASES)}.")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="banyan-swarm-") as made:
        folder = Path(made)
        artefact = make_artefact(folder, size, seed)
        torrent = describe(artefact.path)
        ways: dict[str, tuple[int, int, Any, dict[str, Any]]] = {
            "direct": (1, 0, over_grpc(), {}),
            "swarm": (receivers, 0, by_libtorrent(torrent), {}),
            "swarm, no super-seeding": (receivers, 0, by_libtorrent(torrent, spreads=False), {}),
            "swarm, one liar": (receivers, 1, by_libtorrent(torrent), {}),
            "swarm, one killed": (receivers, 0, by_libtorrent(torrent), {"kill_at": KILL_AT}),
            "gRPC alone": (receivers, 0, over_grpc(), {}),
        }
        for number, case in enumerate(CASES):
            if only and case not in (*only, "direct"):
                continue
            say(case)
            count, liars, way, options = ways[case]
            place = folder / str(number)
            circle = make_circle(place, artefact, count, rate, liars)
            rows.append(_row(case, run(circle, way, **options), rows[0] if rows else None))
            shutil.rmtree(place)
    return {"receivers": receivers, "size": size, "rate": rate, "rows": rows}


def _row(case: str, done: Run, direct: dict[str, Any] | None) -> dict[str, Any]:
    size, figures = done.circle.artefact.length, done.figures.values()
    accused = done.accused()
    parts = {n: member.part for n, member in enumerate(done.circle.members)}
    times = sorted(done.times.values())
    row: dict[str, Any] = {
        "case": case,
        "receivers": len(times),
        "first_s": times[0],
        "median_s": times[len(times) // 2],
        "last_s": times[-1],
        "times_direct": times[-1] / direct["last_s"] if direct else 1.0,
        "origin_times_size": done.origin_sent / size,
        "most_sent_times_size": max(
            (f.sent / size for n, f in done.figures.items() if parts[n] == "receiver"), default=0.0
        ),
        "wrong_mb": sum(f.wrong for f in figures) / 1e6,
        "liar_named_by": sum(count for n, count in accused.items() if parts[n] == "liar"),
        "honest_named_by": sum(count for n, count in accused.items() if parts[n] != "liar"),
        "cpu_s": sum(f.cpu_s for f in figures),
        "memory_mb": max(f.memory_mb for f in figures),
    }
    if done.resumed is not None:
        here, after = done.resumed
        row |= {"killed_with_mb": here / 1e6, "got_after_mb": after / 1e6}
    return row


def tables(result: dict[str, Any]) -> Iterator[Table | str]:
    """Show the rows."""
    yield formatted(
        f"{result['size'] / 1e6:.0f} MB for {result['receivers']}, "
        f"each sends {result['rate'] / 1e6:g} MB/s at most",
        {
            "case": "{case}",
            "receivers": "{receivers}",
            "first s": "{first_s:.1f}",
            "median s": "{median_s:.1f}",
            "last s": "{last_s:.1f}",
            "times direct": "{times_direct:.2f}",
            "origin sent × size": "{origin_times_size:.2f}",
            "busiest receiver × size": "{most_sent_times_size:.2f}",
            "wrong MB": "{wrong_mb:.1f}",
            "CPU s": "{cpu_s:.0f}",
            "MB each": "{memory_mb:.0f}",
        },
        result["rows"],
    )
    for row in result["rows"]:
        if row["case"] == "swarm, one liar":
            yield (
                f"The liar is named by {row['liar_named_by']} of {row['receivers']} receivers, "
                f"others by {row['honest_named_by']}."
            )
        if "killed_with_mb" in row:
            yield (
                f"The killed receiver had {row['killed_with_mb']:.1f} MB, and got "
                f"{row['got_after_mb']:.1f} MB after it was started again."
            )
