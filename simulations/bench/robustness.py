"""How far attackers can pull each pipeline: its empirical resilience κ.

κ is the squared distance of the aggregate from the honest mean over the honest variance, the worst
over all attacks; the definition is that of (f, κ)-robustness (Allouah et al., arXiv 2302.01772).
Attackers know the honest updates and the pipeline. All f send the honest mean moved along one
direction (the mean itself, the standard deviation, each cluster, the top principal components, both
ways), as far as a line search against that very pipeline finds worst; beside them stands the attack
library. Every pipeline meets the same data: generated clusters, and real adapter deltas.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from aggregation import AggregationError, Pipeline, Updates
from aggregation.blocks import cores
from simulations import libraries
from simulations.attacks import ATTACKS, Knowledge, direction_search
from simulations.datasets.deltas import real_deltas
from simulations.libraries import Matrix
from simulations.processes import results
from simulations.tables import formatted

COUNT, BAD, CLUSTERS, SIZE = 20, 4, 4, 5_000
RULES = (
    "mean", "trimmed_mean", "median", "mean_around_median", "geometric_median",
    "centred_clipping", "caf", "krum", "multi_krum", "mda", "bulyan",
)  # fmt: skip
OURS = (
    *RULES,
    *(f"nnm {rule}" for rule in RULES),
    "arc trimmed_mean",
    "arc centred_clipping",
    "arc geometric_median",
    "arc caf",
    "arc nnm trimmed_mean",
    "arc nnm geometric_median",
    "arc nnm caf",
    "bucketing:2 trimmed_mean",
    "bucketing:2 geometric_median",
)
_TOO_SLOW = (("ByzFL", "mda"), ("ByzFL", "nnm caf"), ("Flower", "bulyan"))
"""Many minutes for each draw; a test says that ByzFL's minimum-diameter average is ours."""
_DRAWS_OF_DELTAS = 3
_DRAWS_OF_FLOWER = 1
"""Each of its calls packs and unpacks twenty messages; ten draws of a rule take an hour."""
_COMPONENTS = 3
_TIMED = 5

Aggregate = Callable[[Matrix], NDArray[np.float32]]


@dataclass(frozen=True)
class Resilience:
    """What attackers achieved against one pipeline on one data set.

    Attributes:
        draws: how many of the data were tried.
        kappa: the worst over attacks, median over the draws of the data.
        worst: the worst over attacks and draws, with the ``attack`` that did it.
        slowest: the longest time under attack over the usual time.
        finite: whether every outcome was.
    """

    data: str
    pipeline: str
    by: str
    draws: int
    kappa: float
    worst: float
    attack: str
    slowest: float
    finite: bool


def run(
    seeds: int = 10,
    only: Sequence[str] = (),
    say: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Attack every pipeline on generated clusters and on real adapter deltas.

    Pipelines go to as many processes as there are cores, with one thread each.

    Args:
        seeds: draws of the generated data; of the real deltas at most three, and one for Flower.
        only: names of pipelines; all if there are none.
        say: called with a line for every result as it comes.
    """
    draws = {"clusters": seeds, "deltas": min(seeds, _DRAWS_OF_DELTAS)}
    jobs = [
        (data, by, name, _DRAWS_OF_FLOWER if by == "Flower" else draws[data])
        for data in DATA
        for by, name in contestants(only)
    ]
    rows = []
    for result in results(attack_all, jobs, cores()):
        rows.append(asdict(result))
        name, slower = f"{result.by} {result.pipeline}", f"{result.slowest:.1f}"
        say(
            f"{result.data}, {name}: κ {result.worst:.3f} ({result.attack}), "
            f"at most {slower} times its usual time"
        )
    return {"updates": COUNT, "f": BAD, "results": rows}


def contestants(only: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Whose, and which pipeline: ours, and what is there of ByzFL's and Flower's."""
    everybody = [
        *(("Banyan", name) for name in OURS),
        *(("ByzFL", name) for name in libraries.byzfl()),
        *(("Flower", name) for name in libraries.flower()),
    ]
    asked = [c for c in everybody if c not in _TOO_SLOW and (not only or c[1] in only)]
    if unknown := set(only) - {name for _, name in asked}:
        raise AggregationError("unknown-rule", f"Nobody has {', '.join(sorted(unknown))}.")
    return asked


def clustered(seed: int) -> tuple[Matrix, list[NDArray[np.float64]]]:
    """Honest updates in four clusters, (16, 5000), and the directions of the clusters.

    What all share, what a cluster shares and what is a child's own have the same variance.
    """
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(SIZE)
    centres = rng.standard_normal((CLUSTERS, SIZE))
    labels = np.arange(COUNT - BAD) % CLUSTERS
    own = rng.standard_normal((COUNT - BAD, SIZE))
    honest = (common + centres[labels] + own).astype(np.float32)
    return honest, _cluster_directions(honest, labels)


def sampled_deltas(seed: int) -> tuple[Matrix, list[NDArray[np.float64]]]:
    """Sixteen of the twenty real adapter deltas, four of each organ system."""
    deltas, systems = real_deltas()
    rng = np.random.default_rng(seed)
    chosen = np.concatenate(
        [rng.permutation(np.flatnonzero(systems == s))[:4] for s in np.unique(systems)]
    )
    return deltas[chosen], _cluster_directions(deltas[chosen], systems[chosen])


def attack_all(job: tuple[str, str, str, int]) -> Resilience:
    """Try every attack on every draw of the data and keep the worst.

    Args:
        job: the name of the data, whose pipeline, its name, draws of the data.
    """
    data, by, pipeline, seeds = job
    watch = _Watch(_aggregate(by, pipeline))
    of_draws, attack, worst = [], "none", 0.0
    slowest = 0.0
    for seed in range(seeds):
        honest, clusters = DATA[data](seed)
        mean = honest.mean(axis=0, dtype=np.float64)
        variance = float(((honest - mean) ** 2).sum(axis=1).mean())
        usual = watch.seconds(np.concatenate([honest, honest[:BAD]]))
        kappas = [0.0]
        for name, make in _attacks(honest, clusters, watch, seed).items():
            rows = np.concatenate([honest, make()])
            error = watch(rows).astype(np.float64) - mean
            kappas.append(float(error @ error / variance) if np.isfinite(error).all() else np.inf)
            slowest = max(slowest, watch.seconds(rows) / usual)
            if kappas[-1] > worst:
                worst, attack = kappas[-1], name
        of_draws.append(max(kappas))
    median = statistics.median(of_draws)
    return Resilience(data, pipeline, by, seeds, median, worst, attack, slowest, watch.finite)


def _attacks(
    honest: Matrix, clusters: list[NDArray[np.float64]], aggregate: Aggregate, seed: int
) -> dict[str, Callable[[], Matrix]]:
    """Every attack on these honest updates, by name; each makes the (f, d) rows to send."""
    known = Knowledge(
        honest=honest,
        count=BAD,
        rng=np.random.default_rng(seed),
        aggregate=aggregate,
        previous=np.roll(honest, 1, axis=1),
    )
    mean = honest.mean(axis=0, dtype=np.float64)
    centred = honest - mean
    components = np.linalg.svd(centred, full_matrices=False)[2][:_COMPONENTS]
    directions = {"mean": mean, "deviation": honest.std(axis=0, dtype=np.float64)}
    directions |= {f"cluster {i}": direction for i, direction in enumerate(clusters)}
    directions |= {f"component {i}": direction for i, direction in enumerate(components)}
    scale = float(np.linalg.norm(honest, axis=1).mean())

    def along(direction: NDArray[np.float64]) -> Matrix:
        unit = direction * (scale / np.linalg.norm(direction))
        return np.tile(direction_search(known, unit), (BAD, 1))

    attacks: dict[str, Callable[[], Matrix]] = {}
    for name, direction in directions.items():
        attacks[f"+ {name}"] = lambda direction=direction: along(direction)  # type: ignore[misc]
        attacks[f"− {name}"] = lambda direction=direction: along(-direction)  # type: ignore[misc]
    for name, attack in ATTACKS.items():
        if name != "not_finite":  # refused before any rule
            attacks[name] = lambda attack=attack: attack(  # type: ignore[misc]
                replace(known, rng=np.random.default_rng(seed))
            )
    return attacks


def _cluster_directions(honest: Matrix, labels: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    mean = honest.mean(axis=0, dtype=np.float64)
    return [
        honest[labels == label].mean(axis=0, dtype=np.float64) - mean for label in np.unique(labels)
    ]


DATA: Mapping[str, Callable[[int], tuple[Matrix, list[NDArray[np.float64]]]]] = {
    "clusters": clustered,
    "deltas": sampled_deltas,
}


def _aggregate(by: str, name: str) -> Aggregate:
    if by == "Banyan":
        pipeline = Pipeline.parse(name.split())
        return lambda rows: pipeline(Updates(rows), BAD).vector
    prepare = (libraries.byzfl() if by == "ByzFL" else libraries.flower())[name]
    return lambda rows: prepare(rows, BAD)()


class _Watch:
    """An aggregate that notes whether all it gave was finite, and can be timed."""

    def __init__(self, aggregate: Aggregate) -> None:
        self._aggregate, self.finite = aggregate, True

    def __call__(self, rows: Matrix) -> NDArray[np.float32]:
        vector = self._aggregate(rows)
        self.finite = self.finite and bool(np.isfinite(vector).all())
        return vector

    def seconds(self, rows: Matrix) -> float:
        """Seconds for these rows, undisturbed: the least of a few."""
        times = []
        for _ in range(_TIMED):
            started = time.perf_counter()
            self._aggregate(rows)
            times.append(time.perf_counter() - started)
        return min(times)


def tables(result: Mapping[str, Any]) -> Iterator[Table]:
    """The pipelines of each data set, the most resilient first."""
    columns = {"pipeline": "{pipeline}", "by": "{by}", "draws": "{draws}"}
    columns |= {"κ, worst": "{worst:.3f}", "κ, median draw": "{kappa:.3f}"}
    columns |= {"finite": "{finite}", "worst attack": "{attack}", "slowed by": "{slowest:.1f}×"}
    for data in DATA:
        rows = sorted((r for r in result["results"] if r["data"] == data), key=lambda r: r["worst"])
        title = f"{data}: {result['f']} attackers of {result['updates']}"
        title += ", squared error over honest variance"
        yield formatted(title, columns, rows, left=("by", "worst attack"))
