"""Refuse what a child sent: in the ledger, in the next release, and without harm to the parent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from nodes.errors import NodeError
from nodes.state.events import UpdateRefused
from nodes.state.ledger import Claim
from nodes.state.node import Node
from nodes.state.records import ZERO
from protocol import Code, Digest, NodeId, Refused, Verdict, VerdictKind

log = structlog.get_logger()

MAX_NAMED = 256
"""Refused updates that one release names; all are in the ledger."""


class Refusals:
    """The refusals since the last release.

    Attributes:
        verdicts: what the next release says of them.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.verdicts: list[Verdict] = []

    def record(
        self,
        child: NodeId,
        refused: Refused,
        number: int = 0,
        update: Digest = ZERO,
        claim: Claim | None = None,
    ) -> None:
        """Record a refusal, with a claim when the message had got as far as claiming."""
        code = refused.code.value
        event = UpdateRefused(
            child=child,
            code=code,
            sentence=refused.sentence,
            round=number,
            update=update,
            claimed=refused.claims,
        )
        self._node.record(event, claim)
        if len(self.verdicts) < MAX_NAMED:
            self.verdicts.append(
                Verdict(
                    node=child, update=update, verdict=VerdictKind.REFUSED, code=code, share=0.0
                )
            )
        log.warning("update-refused", child=child[:12], code=code, why=refused.sentence)

    def clear(self) -> None:
        """Forget the refusals that a release named."""
        self.verdicts.clear()


@contextmanager
def costs_the_child() -> Iterator[None]:
    """Refuse an answer whose bytes make a library fail: that is its sender's, not this node's.

    Errors of the machine pass: the answer may be sound.
    """
    try:
        yield
    except (Refused, NodeError, OSError, MemoryError):
        raise
    except Exception as error:
        log.exception("answer-unreadable")
        why = f"The answer cannot be read: {type(error).__name__}."
        raise Refused(Code.MALFORMED, why) from None
