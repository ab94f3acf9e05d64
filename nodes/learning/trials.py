"""Trials of a model on a node's hidden probes.

The gate, and a node that re-bases, judge a model by its losses on text that nobody trains on, and
by its scores on safety probes: both are numbers that rise with harm, and are called losses here.
Each comparison draws its own probes. Harm is measured against the best state that the node ever
held on a source, so that tolerances do not add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregation.gate import Budget, GatePolicy, Losses, ProbeKind, Reason, draw, forgotten, judge
from nodes.learning.interfaces import Corpus, Engine
from nodes.model.probe import Probe, id_of
from nodes.state.events import BestHeld, ProbesUsed
from nodes.state.node import Node
from nodes.state.vectors import Vector
from nodes.text.probe_files import FORMS
from protocol import Digest

Drawn = Mapping[str, Sequence[Probe]]
"""The probes of one comparison by source."""


@dataclass(frozen=True, eq=False)
class Trial:
    """The probes of one comparison, with what was measured on them before any candidate.

    Attributes:
        drawn: which probes.
        effective: Θ of the current state, (d,) float32.
        current, best: the losses of the current state and of the best that was ever held.
        reused: sources of which retired probes were drawn.
    """

    probes: Probes
    drawn: Drawn
    effective: Vector
    current: Losses
    best: Losses
    reused: tuple[str, ...]

    def measure(self, theta: Vector) -> Losses:
        """Measure another effective model on the same probes."""
        return self.probes.losses([theta], self.drawn)[0]

    def harm(self, losses: Losses) -> tuple[Reason, ...]:
        """List the objections to holding a state with these losses, whether it gains or not."""
        verdict = judge(self.current, losses, self.probes.policy, Budget(), self.best)
        return tuple(reason for reason in verdict.reasons if reason.code != "no-gain-shown")

    def forgets(self, losses: Losses, tolerance: float) -> bool:
        """Return whether a state that was learned here loses too much of what the node knew.

        Args:
            tolerance: nats per token that may be forgotten of ordinary sources, on average. Others
                keep to the policy, and a loss that is not finite is too much.
        """
        kind = self.probes.policy.kind
        ordinary = {
            s: losses_there
            for s, losses_there in self.best.items()
            if kind(s) is ProbeKind.ORDINARY
        }
        barred = (
            reason.code == "not-finite" or reason.source not in ordinary
            for reason in self.harm(losses)
        )
        return any(barred) or forgotten(losses, ordinary) > tolerance

    def remember(self, theta: Vector | None = None, losses: Losses | None = None) -> None:
        """Record the best state for each source now; ``theta`` if the node holds it."""
        node, lowest = self.probes.node, dict(self.best)
        improved: dict[str, Digest] = {}
        states = [(self.effective, self.current)]
        if theta is not None and losses is not None:
            states.append((theta, losses))
        for state, by_source in states:
            for source, values in by_source.items():
                known = source in node.state.best or source in improved
                if not known or values.mean() < lowest[source].mean():
                    improved[source], lowest[source] = node.keep(state), values
        if improved:
            node.record(BestHeld(best=improved))


@dataclass(frozen=True, eq=False)
class Judged:
    """The chosen share of a change, and the measurements of the state that it leads to."""

    share: float
    trial: Trial | None = None
    theta: Vector | None = None
    losses: Losses | None = None

    def remember(self) -> None:
        """Record the best state now, after the installation. A rollback forgets it again."""
        if self.trial is not None:
            self.trial.remember(self.theta, self.losses)


class Probes:
    """The probes of one node by source, and how often each was used.

    The probes come from the operator's files and from the buffer, under the same sources. A source
    of which all probes arrived takes part once there are ``policy.least``: with fewer its mean says
    nothing, and the node would refuse harmless changes. Arrived probes are text, so they never join
    a source of safety probes.
    """

    def __init__(self, node: Node, engine: Engine, policy: GatePolicy, corpus: Corpus) -> None:
        self.node, self.policy, self._engine, self._corpus = node, policy, engine, corpus
        self._operators = {
            source: {id_of(probe): probe for probe in probes}
            for source, probes in corpus.operators_probes.items()
        }

    def __bool__(self) -> bool:
        return any(self._pool().values())

    @contextmanager
    def trial(self, *, counted: bool) -> Iterator[Trial]:
        """Draw probes and measure the current state and the best ones on them.

        The model stays in memory until the trial ends.

        Args:
            counted: whether others learn the verdict, so that the probes wear out by it.

        Raises:
            AggregationError: ``no-probes``, ``too-few-probes``.
        """
        node, pool = self.node, self._pool()
        uses = {
            source: {name: node.state.gate.uses.get(source, {}).get(name, 0) for name in probes}
            for source, probes in pool.items()
        }
        drawn = draw(uses, node.randomness.bits(63), self.policy)
        if counted:  # before the verdict: a crash must not give a probe a use for nothing
            node.record(ProbesUsed(probes={s: tuple(n) for s, n in drawn.probes.items()}))
            self._retire()
        probes = {s: [pool[s][name] for name in names] for s, names in drawn.probes.items()}
        with self._engine.keep_loaded():
            effective = node.effective()
            (current,) = self.losses([effective], probes)
            best = self._best(probes, effective)
            yield Trial(self, probes, effective, current, {**current, **best}, drawn.reused)

    def _pool(self) -> dict[str, dict[str, Probe]]:
        """Collect name → probe of each source, as of now: probes may arrive, and give way to
        others."""
        pool = {source: dict(probes) for source, probes in self._operators.items()}
        for source, texts in self._corpus.arrived_probes().items():
            if self.policy.kind(source) in FORMS:
                continue
            if source in pool or len(texts) >= self.policy.least:
                pool.setdefault(source, {}).update(texts)
        return pool

    def _retire(self) -> None:
        """Retire worn probes of the buffer, so that others replace them."""
        used = self.node.state.gate.uses
        worn = [
            name
            for source, texts in self._corpus.arrived_probes().items()
            for name in texts
            if used.get(source, {}).get(name, 0) >= self.policy.retire_after
        ]
        if worn:
            self._corpus.retire(worn)

    def _best(self, drawn: Drawn, effective: Vector) -> Losses:
        """Measure the best states that are not the current one."""
        sources_of: dict[Digest, list[str]] = {}
        for source in drawn:
            digest = self.node.state.best.get(source)
            if digest and self.node.artefacts.has(digest):
                sources_of.setdefault(digest, []).append(source)
        best: dict[str, NDArray[np.float64]] = {}
        for digest, sources in sources_of.items():
            theta = self.node.vector(digest)
            if not np.allclose(theta, effective, rtol=0, atol=_SAME):
                (measured,) = self.losses([theta], {s: drawn[s] for s in sources})
                best |= measured
        return best

    def losses(
        self, thetas: Sequence[Vector], drawn: Drawn
    ) -> list[dict[str, NDArray[np.float64]]]:
        """Score effective models on each probe, nats per token, by source."""
        return self._engine.losses(thetas, drawn)


_SAME = 1e-6
"""Rounding of sums along a chain: states this close in every coordinate are one."""
