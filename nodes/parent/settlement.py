"""Settle a closed round: aggregate, give each update its verdict, pass the gate, release.

Either the ledger gets one ``released`` event that names every update, or it says why nothing
changed. A round that is interrupted here stays open in the ledger and is settled after a restart.
"""

from __future__ import annotations

from collections.abc import Collection, MutableMapping, Sequence

import structlog

from aggregation import AggregationError
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.learning.corpus import StoredCorpus
from nodes.learning.interfaces import Corpus, Engine
from nodes.machine.process_memory import trim
from nodes.parent.combine import Collected, Combiner, RobustCombiner, Seats, stand_ins
from nodes.parent.gate import Gate, ProbeGate
from nodes.releases.publish import Made, publish
from nodes.state.event_codec import write
from nodes.state.events import RoundClosed
from nodes.state.node import Node
from nodes.state.records import Seated
from nodes.state.vectors import Vector
from protocol import Digest, EncodedDelta, NodeId, ReleaseKind, Verdict, VerdictKind

log = structlog.get_logger()

PASSING = {"stopped", "disk-full", "disk-error", "database-busy"}
"""Errors that are not the round's: they pass, and the round is settled then."""

MOST_TRIALS = 3
"""How often a candidate is judged again because the effective model changed meanwhile."""


class Settlement:
    """The settlement of a parent's closed rounds.

    Args:
        corpus: the node's text; by default that of its state folder.
        combiner: makes one vector of the updates; by default the configured robust rules.
        gate: decides on the candidate; by default by the node's probes.

    Raises:
        NodeError: ``no-probes``.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        engine: Engine,
        corpus: Corpus | None = None,
        *,
        combiner: Combiner | None = None,
        gate: Gate | None = None,
    ) -> None:
        corpus = corpus or StoredCorpus(node.home, config, node.clock)
        if not corpus.operators_probes:
            raise NodeError(
                "no-probes",
                "A node with children needs text to measure candidates with: "
                "name a file for each source under [data.probes] in node.toml.",
            )
        self._node, self._rounds = node, config.rounds
        self._combiner = combiner or RobustCombiner(node, config.rounds.pipeline)
        self._gate = gate or ProbeGate(node, config, engine, corpus)

    def settle(
        self,
        round: int,
        seats: Seats,
        f: int,
        refusals: Sequence[Verdict],
        absent: Collection[NodeId] = (),
        deltas: MutableMapping[Digest, EncodedDelta] | None = None,
    ) -> Seats:
        """Release the aggregate of the seated updates, if the gate lets it pass.

        The last accepted updates of ``absent`` children stand in for them.

        Args:
            deltas: payloads that are still in memory from admission; others are read from disk.
                It is emptied before the gate, which may need the memory.

        Returns:
            The seats that a release counted: none when nothing was released.
        """
        quarantined = [c for c in seats if self._node.state.rounds.is_quarantined(c)]
        refusals = [*refusals, *(_without_weight(c, seats[c]) for c in quarantined)]
        seats = {c: seat for c, seat in seats.items() if c not in quarantined}
        try:
            standing = stand_ins(self._node, absent) if self._rounds.stand_ins else {}
            vector, verdicts = self._combiner.combine(
                Collected(round, seats, standing, deltas or {}, f)
            )
            if deltas:
                deltas.clear()
                trim()
            passed = self._release(round, vector, [*verdicts, *refusals])
        except (AggregationError, NodeError) as error:
            if error.code in PASSING:
                raise
            self._fail(round, error.code, error.sentence)
            return {}
        except OSError:
            raise  # of the machine, not of this round: the driver tries again
        except Exception as error:
            # Whatever a library raises on this round's numbers, it would raise again.
            log.exception("round-failed", round=round)
            self._fail(round, "computing-failed", f"{type(error).__name__}: {error}"[:500])
            return {}
        if not passed:
            self._close(RoundClosed(round=round, outcome="refused-by-gate", updates=len(seats)))
            return {}
        accepted = {v.node for v in verdicts if v.verdict is VerdictKind.ACCEPTED}
        return {child: seat for child, seat in seats.items() if child in accepted}

    def close_void(self, round: int, updates: int) -> None:
        """Record that a round ended with too few updates to aggregate."""
        self._close(RoundClosed(round=round, outcome="void", updates=updates))

    def _fail(self, round: int, code: str, sentence: str) -> None:
        self._close(RoundClosed(round=round, outcome="failed", code=code, sentence=sentence))

    def _close(self, event: RoundClosed) -> None:
        """Record that a round ended without a release."""
        self._node.record(event)
        log.info("round-closed", **write(event)[1])

    def _release(self, round: int, vector: Vector, verdicts: Sequence[Verdict]) -> bool:
        """Release what the gate lets pass; return whether it let anything pass.

        A re-base or a person's rollback may change the effective model meanwhile. Then the judged
        model is not the one to be released, and it is judged again.
        """
        for _ in range(MOST_TRIALS):
            moves = self._node.state.moves
            passed = self._gate.admit(round, vector)
            if passed is None:
                return False
            made = Made(
                kind=ReleaseKind.ROUND,
                round=round,
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
                log.info("judged-again", round=round)
                continue
            passed.remember()
            log.info("released", version=version, round=round, step=passed.step)
            return True
        raise NodeError(
            "moved-on", f"The effective model changed {MOST_TRIALS} times while it was judged."
        )


def _without_weight(child: NodeId, seat: Seated) -> Verdict:
    """Give the verdict on an update of a child in quarantine."""
    log.warning("update-quarantined", child=child[:12])
    return Verdict(
        node=child,
        update=seat.update,
        verdict=VerdictKind.REFUSED,
        code="quarantined",
        share=0.0,
    )
