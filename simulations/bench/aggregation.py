"""Our rules against Flower's strategies, ByzFL's aggregators and one pass over the data.

Everybody gets the same normal random updates in one process; contestants take turns, so that a busy
minute meets all. What is timed is the aggregation alone: updates are checked, messages made and
tensors wrapped before. ByzFL runs on torch tensors and on numpy arrays. Memory is measured in a
process of its own, as what it takes beyond what it had before the updates were made.
"""

from __future__ import annotations

import math
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.table import Table

from aggregation import Pipeline, Updates
from aggregation.blocks import compiled_loops
from simulations import libraries
from simulations.libraries import Call, Matrix
from simulations.processes import results
from simulations.tables import table

PIPELINES = (
    "mean",
    "trimmed_mean",
    "median",
    "mean_around_median",
    "geometric_median",
    "centred_clipping",
    "caf",
    "krum",
    "multi_krum",
    "mda",
    "bulyan",
    "nnm trimmed_mean",
    "arc nnm trimmed_mean",
)
PEERS = ("Flower", "ByzFL, torch", "ByzFL, numpy")
SIZES = ((20, 3), (100, 15))
_SLOW_S = 8.0
"""A contestant that takes longer is timed once."""
_REST_S = 0.3
"""Before each run: threads of BLAS and OpenMP spin for a while after their work."""
_MOST_SUBSETS = 2_000
"""ByzFL's minimum diameter tries all subsets."""


@dataclass(frozen=True)
class Timing:
    """How long one contestant took for one pipeline: the median, in seconds; None with ``why``."""

    updates: int
    f: int
    size: int
    pipeline: str
    contestant: str
    seconds: float | None
    times: tuple[float, ...] = ()
    why: str = ""


def run(
    size: int = 1_000_000,
    repeats: int = 5,
    only: Sequence[str] = (),
    sizes: Sequence[tuple[int, int]] = SIZES,
    say: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Time every pipeline for every (n, f).

    Args:
        size: d, float32 values of an update.
        repeats: runs of each contestant; medians count.
        only: pipelines; those of the table if there are none.
        sizes: how many updates there are, and how many of them may be bad.
        say: called with a line for every result as it comes.

    Raises ``AggregationError`` ``unknown-rule``.
    """
    pipelines = only or PIPELINES
    for pipeline in pipelines:
        Pipeline.parse(pipeline.split())
    timings: list[Timing] = []
    memory: list[dict[str, Any]] = []
    for n, f in sizes:
        updates = np.random.default_rng(0).standard_normal((n, size), dtype=np.float32)
        for pipeline in pipelines:
            for timing in _race(updates, f, pipeline, repeats):
                timings.append(timing)
                took = timing.why if timing.seconds is None else f"{timing.seconds:.3f} s"
                say(f"n={timing.updates} {timing.pipeline}, {timing.contestant}: {took}")
    for n, f in sizes:
        for pipeline in pipelines:
            # A fresh process each, with as many threads as one has by default.
            (ratio,) = results(_memory_ratio, [(n, f, size, pipeline)], 1, environment={})
            memory.append({"updates": n, "f": f, "pipeline": pipeline, "ratio": ratio})
    return {
        "size": size,
        "byzfl": bool(libraries.byzfl()),
        "compiled": any(compiled_loops(n * size) for n, _ in sizes),
        "timings": [asdict(timing) for timing in timings],
        "memory": memory,
    }


def _race(updates: Matrix, f: int, pipeline: str, repeats: int) -> list[Timing]:
    n, d = updates.shape
    contestants = {"one pass": _one_pass, "ours": _ours(pipeline)}
    theirs = (libraries.flower(), libraries.byzfl(), libraries.byzfl(tensors=False))
    for name, rules in zip(PEERS, theirs, strict=True):
        if pipeline in rules:
            contestants[name] = rules[pipeline]
    refused = {name: _too_much(name, pipeline, n, f, d) for name in contestants}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, prepare in contestants.items():
            if refused[name] or max(times[name], default=0) > _SLOW_S:
                continue
            try:
                work = prepare(updates, f)
                time.sleep(_REST_S)
                started = time.perf_counter()
                work()
                times[name].append(time.perf_counter() - started)
            except Exception as error:  # a peer that fails must not end the comparison
                if name == "ours":
                    raise
                refused[name] = f"{type(error).__name__}: {error}"[:80]
    return [
        Timing(
            n, f, d, pipeline, name,
            statistics.median(times[name]) if times[name] else None,
            tuple(times[name]), refused[name],
        )
        for name in contestants
    ]  # fmt: skip


def _one_pass(updates: Matrix, f: int) -> Call:
    weights = np.full(len(updates), 1 / len(updates), np.float32)
    return lambda: weights @ updates


def _ours(pipeline: str) -> libraries.Peer:
    def prepare(updates: Matrix, f: int) -> Call:
        run, checked = Pipeline.parse(pipeline.split()), Updates(updates)
        return lambda: run(checked, f).vector

    return prepare


def _too_much(contestant: str, pipeline: str, n: int, f: int, d: int) -> str:
    """Why a contestant is not asked: it would take the machine down."""
    if contestant == "Flower" and pipeline == "bulyan" and n > 50:
        return "over a minute"
    if not contestant.startswith("ByzFL"):
        return ""
    if pipeline == "mda" and math.comb(n, f) > _MOST_SUBSETS:
        return f"{math.comb(n, f):.1e} subsets"
    needed = 4 * n * (n - f) * d
    if "nnm" in pipeline and needed > psutil.virtual_memory().available / 2:
        return f"needs {needed / 1e9:.0f} GB"
    return ""


def _memory_ratio(job: tuple[int, int, int, str]) -> float:
    """Peak memory of making n updates and aggregating them, over the memory of the updates."""
    n, f, size, pipeline = job
    small = np.ones((n, 256), np.float32)
    small[0, 0] = 2
    Pipeline.parse(pipeline.split())(Updates(small), f)  # what is loaded on first use
    compiled_loops(n * size)
    before = _peak_bytes()
    updates = np.random.default_rng(0).standard_normal((n, size), dtype=np.float32)
    Pipeline.parse(pipeline.split())(Updates(updates), f)
    return (_peak_bytes() - before) / updates.nbytes


def _peak_bytes() -> int:
    """VmHWM; where that is not told, what the system counts, maybe with the parent's before."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tables(result: Mapping[str, Any]) -> Iterator[Table | str]:
    """The medians, and by how much each contestant is slower than ours."""
    ratios = {(m["updates"], m["pipeline"]): m["ratio"] for m in result["memory"]}
    rows: dict[tuple[int, int], dict[str, dict[str, Any]]] = {}
    for timing in result["timings"]:
        pipelines = rows.setdefault((timing["updates"], timing["f"]), {})
        pipelines.setdefault(timing["pipeline"], {})[timing["contestant"]] = timing
    columns = ("pipeline", "ours", "one pass", *PEERS, "memory")
    for (n, f), pipelines in rows.items():
        lines = []
        for pipeline, timings in pipelines.items():
            ours, floor = timings["ours"]["seconds"], timings["one pass"]["seconds"]
            theirs = [_cell(timings.get(name), ours) for name in PEERS]
            passes, memory = (
                f"{floor:.3f} ({ours / floor:.0f} passes)",
                ratios.get((n, pipeline), 0),
            )
            lines.append((pipeline, f"{ours:.3f}", passes, *theirs, f"{memory:.2f}×"))
        title = f"n={n}, f={f}, d={result['size']:,} float32, seconds (times ours)"
        yield table(title, columns, lines)
    yield "memory: peak beyond what the process had before, over the size of the updates"
    how = "compiled loops" if result["compiled"] else "numpy alone: few updates, or no numba"
    yield f"ours: with {how}"
    if not result["byzfl"]:
        yield "ByzFL is not installed: pip install scipy, pip install --no-deps byzfl==0.0.11"


def _cell(timing: Mapping[str, Any] | None, ours: float) -> str:
    if timing is None:
        return "–"
    if timing["seconds"] is None:
        return str(timing["why"])
    return f"{timing['seconds']:.3f} ({timing['seconds'] / ours:.1f}×)"
