"""Refuse what a child sent: in the ledger, in the next release, and without harm to the parent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from nodes.errors import NodeError
from nodes.state.events import UpdateRefused
from nodes.state.fates import SUPERSEDED
from nodes.state.ledger import Claim
from nodes.state.node import Node
from nodes.state.records import ZERO
from protocol import (
    LIMITS,
    Code,
    Digest,
    Envelope,
    NodeId,
    PublicKey,
    Refused,
    Update,
    Verdict,
    VerdictKind,
    open_envelope,
)

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
        """Record a refusal, with a claim when the message had got as far as claiming.

        The next release names the update only where that is its last word: one that did not claim
        its task may still be admitted, and its child would believe the first verdict.

        Args:
            update: the digest of what was refused, if the child is known to have signed it.
        """
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
            final = update if claim is not None or code in SUPERSEDED else ZERO
            self.verdicts.append(
                Verdict(node=child, update=final, verdict=VerdictKind.REFUSED, code=code, share=0.0)
            )
        log.warning("update-refused", child=child[:12], code=code, why=refused.sentence)

    def clear(self) -> None:
        """Forget the refusals that a release named."""
        self.verdicts.clear()


def named_update(node: Node, sender: NodeId, refused: Refused, envelope: bytes) -> Digest:
    """Return the digest of a refused update that its sender really signed, for its receipt.

    ``ZERO`` for anything else, and for one that was answered before: that it came again says
    nothing of what became of it.
    """
    if refused.code is Code.REPLAYED:
        return ZERO
    try:
        sealed = Envelope.decode(envelope, LIMITS, at_most=LIMITS.answer_bytes)
        member = node.certificate_of(sender)
        if member is None:
            return ZERO
        update = open_envelope(sealed, Update, PublicKey.from_raw(member.public_key))
        return sealed.digest if update.node == sender else ZERO
    except Exception:  # whatever its bytes make a library raise: it was refused already
        return ZERO


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
