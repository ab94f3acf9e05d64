"""Settling a closed round: aggregate, give each update its verdict, pass the gate, release.

Either the ledger gets one ``released`` event that names every update, or it says why nothing
changed. A round that is interrupted here stays open in the ledger and is settled after a restart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import structlog

from aggregation import AggregationError, diagnose
from aggregation.audit import Policy as AuditPolicy
from aggregation.gate import Losses, judge
from aggregation.gate import Verdict as GateVerdict
from aggregation.replay import ONLY_OLD
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.learning.corpus import Corpus
from nodes.learning.engine import Engine
from nodes.learning.trials import Probes, Trial
from nodes.parent.combine import Seats, combine, stand_ins, told
from nodes.releases.publish import Made, publish
from nodes.state.node import Node
from nodes.state.records import ZERO, Seated
from nodes.state.vectors import Vector, sum_of
from protocol import Digest, NodeId, ProbeLoss, ReleaseKind, Verdict, VerdictKind

log = structlog.get_logger()


MOST_TRIALS = 3
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
    """None where nobody asked a gate."""
    remember: Callable[[], None] = lambda: None
    """Call once it is released: a rollback forgets what was best since."""
    rehearsal: Digest = ZERO
    """Of the vector that the node's own rehearsal added, if it was needed."""

    @property
    def losses(self) -> list[ProbeLoss]:
        """For the release's manifest."""
        sources = self.verdict.sources if self.verdict else ()
        return [
            ProbeLoss(source=s.source, before=s.before, after=s.after, count=s.count)
            for s in sources
            if s.before is not None and s.after is not None  # as it is in all that pass
        ]


class Settlement:
    """What a parent does with the updates of a closed round.

    Args:
        corpus: the node's text; by default that of its state folder.

    Raises:
        NodeError: ``no-probes``.
    """

    def __init__(
        self, node: Node, config: NodeConfig, engine: Engine, corpus: Corpus | None = None
    ) -> None:
        self._corpus = corpus or Corpus(node.home, config, node.clock)
        if not self._corpus.operators_probes:
            raise NodeError(
                "no-probes",
                "A node with children needs text to measure candidates with: "
                "name a file for each source under [data.probes] in node.toml.",
            )
        self._node, self._rounds = node, config.rounds
        self._engine, self._config = engine, config
        self._probes = Probes(node, engine, config.gate.policy(), self._corpus)

    def settle(
        self,
        number: int,
        seats: Seats,
        f: int,
        refusals: Sequence[Verdict],
        absent: Collection[NodeId] = (),
    ) -> Seats:
        """Release what the seated updates add up to, if the gate lets it.

        The last accepted updates of ``absent`` children stand in for them. Returns the seats that a
        release counted: none when nothing was released.
        """
        quarantined = [c for c in seats if self._node.state.is_quarantined(c)]
        refusals = [*refusals, *(_without_weight(c, seats[c]) for c in quarantined)]
        seats = {c: seat for c, seat in seats.items() if c not in quarantined}
        try:
            standing = stand_ins(self._node, absent) if self._rounds.stand_ins else {}
            vector, verdicts = self._aggregate(number, seats, standing, f)
            passed = self._release(number, vector, [*verdicts, *refusals])
        except (AggregationError, NodeError) as error:
            if error.code == "stopped":
                raise
            self.close(number, "failed", code=error.code, sentence=error.sentence)
            return {}
        if not passed:
            self.close(number, "refused-by-gate", updates=len(seats))
            return {}
        accepted = {v.node for v in verdicts if v.verdict is VerdictKind.ACCEPTED}
        return {child: seat for child, seat in seats.items() if child in accepted}

    def close(self, number: int, outcome: str, **why: object) -> None:
        """Record that a round ended without a release."""
        self._node.record("round-closed", {"round": number, "outcome": outcome, **why})
        log.info("round-closed", round=number, outcome=outcome, **why)

    def _release(self, number: int, vector: Vector, verdicts: Sequence[Verdict]) -> bool:
        """Release what the gate lets pass; whether it let anything pass.

        When the effective model changes meanwhile, by a re-base or by a person's rollback, what was
        judged is not what would be released: it is judged again.
        """
        for _ in range(MOST_TRIALS):
            moves = self._node.state.moves
            passed = self._gate(number, vector)
            if passed is None:
                return False
            made = Made(
                kind=ReleaseKind.ROUND,
                round=number,
                step=passed.step,
                verdicts=verdicts,
                losses=passed.losses,
                rehearsal=passed.rehearsal,
            )
            rehearsal = self._node.vector(passed.rehearsal)
            try:
                version = publish(self._node, passed.step * vector + rehearsal, made, after=moves)
            except NodeError as error:
                if error.code != "moved-on":
                    raise
                log.info("judged-again", round=number)
                continue
            passed.remember()
            log.info("released", version=version, round=number, step=passed.step)
            return True
        raise NodeError(
            "moved-on", f"The effective model changed {MOST_TRIALS} times while it was judged."
        )

    def _aggregate(
        self, number: int, seated: Seats, standing: Seats, f: int
    ) -> tuple[Vector, list[Verdict]]:
        """The robust aggregate of what sits in the round, staleness applied to the vectors."""
        seats = {**seated, **standing}
        node, pipeline = self._node, self._rounds.pipeline
        seed = self._node.chance.bits(63)  # for bucketing: drawn when the updates are in
        updates, result = combine(node, seats, pipeline, f, seed)
        found = diagnose(updates, result, f)
        verdicts = [
            _stood_in(child, seat, float(weight), len(seats))
            if child in standing
            else _verdict(child, seat, float(weight), len(seats), bool(far))
            for (child, seat), weight, far in zip(
                seats.items(), result.weights, found.far(), strict=True
            )
        ]
        measured = {
            "weight": result.weights,
            "clipped": result.clipped,
            "norm": found.norms,
            "distance": found.distances,
            "cosine": found.cosines,
        }
        body = {
            "round": number,
            "f": f,
            "seed": seed,
            "pipeline": list(pipeline),
            "seats": told(seats),
            "applied": result.applied,
            "moved": result.moved,
            "updates": {
                child: {name: float(values[row]) for name, values in measured.items()}
                for row, child in enumerate(seats)
            },
            "agreement": found.agreement,
        }
        node.record("aggregated", body)
        return result.vector, verdicts

    def _gate(self, number: int, displacement: Vector) -> Passed | None:
        """The largest step that the probes allow; None when none passes.

        Every step that is tried is a test, and charged. When none passes, the smallest of those
        that gained enough but did harm is tried once more after a rehearsal.
        """
        with self._probes.trial(counted=True) as trial:
            repairable = 0.0
            for step in self._rounds.steps:
                candidate = sum_of([trial.effective, step * displacement])
                losses = trial.measure(candidate)
                verdict = self._judge(number, step, trial, losses)
                if verdict.accepted:
                    return Passed(step, verdict, partial(trial.remember, candidate, losses))
                codes = {reason.code for reason in verdict.reasons}
                if codes <= HARM:
                    repairable = step
                if not _smaller_may_pass(verdict):
                    break
            if repairable and (passed := self._rehearsed(number, repairable, displacement, trial)):
                return passed
            trial.remember()
        return None

    def _rehearsed(
        self, number: int, step: float, displacement: Vector, trial: Trial
    ) -> Passed | None:
        """Let the candidate of a step go over this node's own text, and judge it once more.

        What that adds is short beside the candidate: it repairs, and is nobody's update.
        """
        gate, training = self._config.gate, self._config.training
        if not gate.rehearsal_steps or not (old := self._corpus.to_rehearse()):
            return None
        settings = training.model_copy(update={"steps": gate.rehearsal_steps})
        candidate = sum_of([trial.effective, step * displacement])
        learned = self._engine.train(candidate, [], settings, training.seed + number, old, ONLY_OLD)
        longest = REHEARSAL * step * float(np.linalg.norm(displacement))
        length = float(np.linalg.norm(learned.delta))
        if not 0 < length < math.inf:
            return None
        vector = learned.delta * np.float32(min(1.0, longest / length))
        rehearsal = self._node.keep(vector)
        log.info("rehearsed", round=number, step=step, length=length, longest=longest)
        candidate = sum_of([candidate, vector])
        losses = trial.measure(candidate)
        verdict = self._judge(number, step, trial, losses, rehearsal)
        if not verdict.accepted:
            return None
        return Passed(step, verdict, partial(trial.remember, candidate, losses), rehearsal)

    def _judge(
        self, number: int, step: float, trial: Trial, losses: Losses, rehearsal: Digest = ZERO
    ) -> GateVerdict:
        """Judge one candidate, and charge the test to the node's budget."""
        policy, budget = self._probes.policy, self._node.state.budget
        verdict = judge(trial.current, losses, policy, budget, trial.best, trial.reused)
        body = {"round": number, "step": step, "rehearsal": rehearsal, **verdict.to_json()}
        self._node.record("gate", body)
        log.info(
            "gate",
            round=number,
            step=step,
            rehearsed=bool(rehearsal),
            accepted=verdict.accepted,
            reasons=[reason.code for reason in verdict.reasons],
            before=verdict.before,
            after=verdict.after,
        )
        return verdict


def _smaller_may_pass(verdict: GateVerdict) -> bool:
    """Whether a smaller step could: one that gains too little to show gains less still."""
    harmed = any(reason.code != "no-gain-shown" for reason in verdict.reasons)
    return harmed or (verdict.before or 0.0) <= (verdict.after or 0.0)


def _verdict(child: NodeId, seat: Seated, weight: float, seats: int, far: bool) -> Verdict:
    """What became of one update.

    It is outvoted when it weighs less than half of what each would if all counted alike. That is an
    offence only if it also lies far from the outcome: a rule like Krum leaves out honest ones too.
    """
    outvoted = weight < 0.5
    code = ("outvoted" if far else "not-chosen") if outvoted else ""
    if outvoted:
        log.warning("update-outvoted", child=child[:12], code=code, weight=round(weight, 3))
    return Verdict(
        node=child,
        update=seat.update,
        verdict=VerdictKind.OUTVOTED if outvoted else VerdictKind.ACCEPTED,
        code=code,
        share=min(weight / seats, 1.0),
    )


def _stood_in(child: NodeId, seat: Seated, weight: float, seats: int) -> Verdict:
    return Verdict(
        node=child,
        update=seat.update,
        verdict=VerdictKind.STAND_IN,
        code="",
        share=min(weight / seats, 1.0),
    )


def _without_weight(child: NodeId, seat: Seated) -> Verdict:
    log.warning("update-quarantined", child=child[:12])
    return Verdict(
        node=child,
        update=seat.update,
        verdict=VerdictKind.REFUSED,
        code="quarantined",
        share=0.0,
    )
