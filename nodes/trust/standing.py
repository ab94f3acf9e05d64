"""How a node stands at a parent: active, or out for one of four reasons, each with its own code.

A membership **lapses** by itself when its certificate ends, and is renewed by itself. A person
**suspends** it for a while, or **revokes** it. Whoever refuses a member asks here, so that the
child hears the same everywhere. Nothing is read or recorded here.
"""

from __future__ import annotations

from enum import Enum

from nodes.errors import NodeError
from protocol import LIMITS, Certificate, Code, Membership, NodeId


class Standing(Enum):
    """How a node stands.

    The value is the name of the state. ``code`` is what it is refused with, and ``sentence`` tells
    the person at the child what to do; both are empty for an active member.
    """

    ACTIVE = "active"
    LAPSED = "lapsed"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    NOT_A_MEMBER = "not-a-member"

    @property
    def code(self) -> str:
        """The stable code of a refusal."""
        return _REFUSALS[self][0]

    @property
    def sentence(self) -> str:
        """What the person at the child can do."""
        return _REFUSALS[self][1]

    def require(self, *allowed: Standing) -> None:
        """Raise ``NodeError`` with code and sentence unless it is active or one of ``allowed``."""
        if self is not Standing.ACTIVE and self not in allowed:
            raise NodeError(self.code, self.sentence)


_REFUSALS = {
    Standing.ACTIVE: ("", ""),
    Standing.LAPSED: (
        str(Code.CERTIFICATE_EXPIRED),
        "The membership of this node has lapsed: its certificate has ended. Leave `banyan node "
        "run` running: it renews the membership by itself as soon as it reaches its parent. If it "
        "does not, check this machine's clock.",
    ),
    Standing.SUSPENDED: (
        str(Code.SUSPENDED),
        "The membership of this node is suspended: a person at its parent paused it. Ask them to "
        "let it go on with `banyan node resume`; nothing has to be done here.",
    ),
    Standing.REVOKED: (
        str(Code.REVOKED),
        "The membership of this node was revoked: a person at its parent took it back. Ask them; "
        "to let it in again, they enrol it once more with its request.json.",
    ),
    Standing.NOT_A_MEMBER: (
        str(Code.NOT_A_MEMBER),
        "This node is no member here. Check that it asks the parent that enrolled it; else ask a "
        "person at the parent to enrol it.",
    ),
}


def standing_of(
    membership: Membership, node: NodeId, certificate: Certificate | None, now_ms: int
) -> Standing:
    """Return how a node stands at a parent.

    Args:
        certificate: the node's certificate as its parent has it (``Node.certificate_of``); None
            where there is none.
        now_ms: by the parent's clock; clocks may differ by ``Limits.clock_skew_s``.
    """
    if certificate is None or membership.get(node) is None:
        return Standing.NOT_A_MEMBER
    if membership.is_revoked(node):
        return Standing.REVOKED
    if membership.is_suspended(node):
        return Standing.SUSPENDED
    ended = now_ms - LIMITS.clock_skew_s * 1000 > certificate.valid_until_ms
    return Standing.LAPSED if ended else Standing.ACTIVE
