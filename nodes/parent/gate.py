"""The gate of a parent: which step of a candidate, if any, becomes a release."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import structlog

from aggregation.audit import AuditPolicy
from aggregation.gate import GateVerdict, Losses, judge
from aggregation.replay import ONLY_OLD
from nodes.config.sections import NodeConfig
from nodes.learning.interfaces import Corpus, Engine
from nodes.learning.trials import Probes, Trial
from nodes.state.events import GateJudged
from nodes.state.node import Node
from nodes.state.records import ZERO
from nodes.state.vectors import Vector, sum_of
from protocol import Digest, ProbeLoss

log = structlog.get_logger()

REHEARSAL = AuditPolicy(0).rehearsal
"""The longest rehearsal, as a share of the displacement: what an audit by the grandparent allows.

(It allows that share of the median update; the aggregate is not longer than that, but where most
updates agree and some are long.)
"""
HARM = {"source-harmed", "over-tolerance"}
"""Reasons of the gate that going over old text may remove."""


@dataclass(frozen=True)
class Passed:
    """A step that the gate let pass."""

    step: float
    verdict: GateVerdict | None
    """The gate's verdict; None if no gate was asked."""
    remember: Callable[[], None] = lambda: None
    """Call it after the release: a rollback forgets what was best since."""
    rehearsal: Digest = ZERO
    """The digest of the vector that the node's own rehearsal added, if one was needed."""

    @property
    def losses(self) -> list[ProbeLoss]:
        """The losses for the release's manifest."""
        sources = self.verdict.sources if self.verdict else ()
        return [
            ProbeLoss(source=s.source, before=s.before, after=s.after, count=s.count)
            for s in sources
            if s.before is not None and s.after is not None  # as it is in all that pass
        ]


class Gate(Protocol):
    """The interface of what decides whether a candidate becomes a release."""

    def admit(self, round: int, displacement: Vector) -> Passed | None:
        """Choose the largest step along ``displacement`` that may be released; None when none
        may."""
        ...


class ProbeGate:
    """A gate that judges candidates on the node's hidden probes."""

    def __init__(self, node: Node, config: NodeConfig, engine: Engine, corpus: Corpus) -> None:
        self._node, self._config = node, config
        self._engine, self._corpus = engine, corpus
        self._probes = Probes(node, engine, config.gate.policy(), corpus)

    def admit(self, round: int, displacement: Vector) -> Passed | None:
        """Choose the largest step that the probes allow; None when none passes.

        Every tried step is a test, charged to the budget. When none passes, the smallest step that
        gained enough but did harm is tried once more after a rehearsal.
        """
        with self._probes.trial(counted=True) as trial:
            repairable = 0.0
            for step in self._config.rounds.steps:
                candidate = sum_of([trial.effective, step * displacement])
                losses = trial.measure(candidate)
                verdict = self._judge(round, step, trial, losses)
                if verdict.accepted:
                    return Passed(step, verdict, partial(trial.remember, candidate, losses))
                codes = {reason.code for reason in verdict.reasons}
                if codes <= HARM:
                    repairable = step
                if not _smaller_may_pass(verdict):
                    break
            if repairable and (passed := self._rehearsed(round, repairable, displacement, trial)):
                return passed
            trial.remember()
        return None

    def _rehearsed(
        self, round: int, step: float, displacement: Vector, trial: Trial
    ) -> Passed | None:
        """Train a step's candidate on this node's own text, and judge it once more.

        The rehearsal's displacement is short beside the candidate: it repairs, and is nobody's
        update.
        """
        gate, training = self._config.gate, self._config.training
        if not gate.rehearsal_steps or not (old := self._corpus.to_rehearse()):
            return None
        settings = training.model_copy(update={"steps": gate.rehearsal_steps})
        candidate = sum_of([trial.effective, step * displacement])
        learned = self._engine.train(candidate, [], settings, training.seed + round, old, ONLY_OLD)
        longest = REHEARSAL * step * float(np.linalg.norm(displacement))
        length = float(np.linalg.norm(learned.delta))
        if not 0 < length < math.inf:
            return None
        vector = learned.delta * np.float32(min(1.0, longest / length))
        rehearsal = self._node.keep(vector)
        log.info("rehearsed", round=round, step=step, length=length, longest=longest)
        candidate = sum_of([candidate, vector])
        losses = trial.measure(candidate)
        verdict = self._judge(round, step, trial, losses, rehearsal)
        if not verdict.accepted:
            return None
        return Passed(step, verdict, partial(trial.remember, candidate, losses), rehearsal)

    def _judge(
        self, round: int, step: float, trial: Trial, losses: Losses, rehearsal: Digest = ZERO
    ) -> GateVerdict:
        """Judge one candidate, and charge the test to the node's budget."""
        policy, budget = self._probes.policy, self._node.state.budget
        verdict = judge(trial.current, losses, policy, budget, trial.best, trial.reused)
        self._node.record(GateJudged.from_verdict(round, step, rehearsal, verdict))
        log.info(
            "gate",
            round=round,
            step=step,
            rehearsed=bool(rehearsal),
            accepted=verdict.accepted,
            reasons=[reason.code for reason in verdict.reasons],
            before=verdict.before,
            after=verdict.after,
        )
        return verdict


def _smaller_may_pass(verdict: GateVerdict) -> bool:
    """Return whether a smaller step could pass: not if only the gain was too small."""
    harmed = any(reason.code != "no-gain-shown" for reason in verdict.reasons)
    return harmed or (verdict.before or 0.0) <= (verdict.after or 0.0)
