"""Settling a closed round: aggregate, give each update its verdict, pass the gate, release.

Either the ledger gets one ``released`` event that names every update, or it says why nothing
changed. A round that is interrupted here stays open in the ledger and is settled after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import structlog
from numpy.typing import NDArray

from aggregation import Aggregate, AggregationError, Updates, aggregate, judge
from nodes.chain import sum_of
from nodes.config import NodeConfig
from nodes.engine import Engine
from nodes.errors import NodeError
from nodes.node import Node, Vector
from nodes.state import Seated
from nodes.texts import read_texts
from protocol import (
    LIMITS,
    NodeId,
    PayloadFormat,
    ProbeLoss,
    Verdict,
    VerdictKind,
    decode_delta,
)

log = structlog.get_logger()

Seats = Mapping[NodeId, Seated]


class Settlement:
    """What a parent does with the updates of a closed round."""

    def __init__(self, node: Node, config: NodeConfig, engine: Engine) -> None:
        if not config.data.probes:
            raise NodeError(
                "no-probes",
                "A node with children needs text to measure candidates with: "
                "name a file for each source under [data.probes] in node.toml.",
            )
        self._node, self._rounds, self._engine = node, config.rounds, engine
        self._probes = {source: read_texts(path) for source, path in config.data.probes.items()}
        self._losses: dict[str, NDArray[np.float64]] | None = None

    def settle(self, number: int, seats: Seats, f: int, refusals: Sequence[Verdict]) -> Seats:
        """Release what the seated updates add up to, if the gate lets it.

        Returns the seats that a release counted: none when nothing was released.
        """
        quarantined = [c for c in seats if self._node.state.is_quarantined(c)]
        refusals = [*refusals, *(_without_weight(c, seats[c]) for c in quarantined)]
        seats = {c: seat for c, seat in seats.items() if c not in quarantined}
        try:
            result = self._aggregate(seats, f)
            verdicts = _verdicts(seats, result, f)
            passed = self._gate(number, result.vector)
        except (AggregationError, NodeError) as error:
            if error.code == "stopped":
                raise
            self.close(number, "failed", code=error.code, sentence=error.sentence)
            return {}
        if passed is None:
            self.close(number, "refused-by-gate", updates=len(seats))
            return {}
        step, losses = passed
        version = self._node.publish_round(
            number, step * result.vector, step, [*verdicts, *refusals], losses
        )
        log.info("released", version=version, round=number, step=step, updates=len(seats))
        accepted = {v.node for v in verdicts if v.verdict is VerdictKind.ACCEPTED}
        return {child: seat for child, seat in seats.items() if child in accepted}

    def close(self, number: int, outcome: str, **why: object) -> None:
        """Record that a round ended without a release."""
        self._node.record("round-closed", {"round": number, "outcome": outcome, **why})
        log.info("round-closed", round=number, outcome=outcome, **why)

    def _aggregate(self, seats: Seats, f: int) -> Aggregate:
        """The robust aggregate of what sits in the round, staleness applied to the vectors."""
        node, layout = self._node, self._node.home.layout
        values = np.zeros((len(seats), layout.size), np.float32)
        holders = np.zeros(values.shape, np.bool_)
        for row, seat in enumerate(seats.values()):
            held = layout.indices_at(seat.mask_rank)
            payload, form = node.artefacts.get(seat.payload), PayloadFormat(seat.payload_format)
            values[row, held] = seat.scale * decode_delta(payload, held.size, form, LIMITS)
            holders[row, held] = True
        updates = Updates(values, None if holders.all() else holders)
        return aggregate(self._rounds.rule, updates, f)

    def _gate(
        self, number: int, displacement: Vector
    ) -> tuple[float, tuple[ProbeLoss, ...]] | None:
        """The largest step that the probes allow, and the losses; None when none passes."""
        node = self._node
        effective = node.effective()
        for step in self._rounds.steps:
            candidate = sum_of([effective, step * displacement])
            if self._losses is None:
                self._losses, losses = self._engine.losses([effective, candidate], self._probes)
            else:
                # Nothing but a release changes the effective model, so what was measured stands.
                (losses,) = self._engine.losses([candidate], self._probes)
            verdict = judge(self._losses, losses)
            sources = [asdict(source) for source in verdict.sources]
            body = {
                "round": number,
                "step": step,
                "accepted": verdict.accepted,
                "worse": verdict.worse,
                "before": verdict.before,
                "after": verdict.after,
                "sources": sources,
            }
            node.record("gate", body)
            log.info("gate", **{k: v for k, v in body.items() if k != "sources"})
            if verdict.accepted:
                self._losses = losses
                return step, tuple(ProbeLoss(**source) for source in sources)
        return None


def _verdicts(seats: Seats, result: Aggregate, f: int) -> list[Verdict]:
    """What became of each update.

    An update most of which was trimmed is outvoted: it kept less than half the share that each
    would keep if all were alike.
    """
    fair = (len(seats) - 2 * f) / len(seats)
    verdicts = []
    for (child, seat), kept in zip(seats.items(), result.kept, strict=True):
        outvoted = kept < fair / 2
        verdicts.append(
            Verdict(
                node=child,
                update=seat.update,
                verdict=VerdictKind.OUTVOTED if outvoted else VerdictKind.ACCEPTED,
                code="outvoted" if outvoted else "",
                share=float(kept),
            )
        )
        if outvoted:
            log.warning("update-outvoted", child=child[:12], share=round(float(kept), 3))
    return verdicts


def _without_weight(child: NodeId, seat: Seated) -> Verdict:
    log.warning("update-quarantined", child=child[:12])
    return Verdict(
        node=child,
        update=seat.update,
        verdict=VerdictKind.REFUSED,
        code="quarantined",
        share=0.0,
    )
