"""A parent lets nodes in: invites them, answers who comes with a token, and heeds its operator.

What keeps a token for one key through a ``kill -9`` at any place: the key's claim is on disk before
a certificate is signed, and whether one was signed is read from the membership, never guessed.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from nodes.errors import NodeError
from nodes.machine.randomness import Randomness
from nodes.peers.door import Whereabouts
from nodes.peers.joining.invitations import Invitation, Invitations, State, check_distinct
from nodes.peers.joining.token import (
    ID_BYTES,
    MOST_ADDRESSES,
    SECRET_BYTES,
    JoinToken,
    authority_digest,
)
from nodes.peers.wire.caller import Caller
from nodes.peers.wire.errors import PeerError
from nodes.state.node import Node
from nodes.trust.enrolment import (
    MAX_REQUEST_BYTES,
    MembershipRequest,
    certify_request,
    check_request,
    read_request,
)
from nodes.trust.link_certificates import issue_link
from nodes.trust.renewal import path_envelopes, renew_member
from nodes.trust.tls import authority_pem
from nodes.trust.transport_keys import generate_transport_key, transport_public_pem
from protocol import (
    LIMITS,
    Code,
    Envelope,
    NodeId,
    Refused,
    Role,
    Scope,
    SigningKey,
    check_label,
    peer_pb2,
)

log = structlog.get_logger()

HOUR_MS = 3600 * 1000
MOST_HOURS = 24.0
"""The longest life of an invitation, and the usual one."""
RETRY_MS = 3000
"""Whoever waits for a person asks again after this."""


def mac_of(secret: bytes, token_id: bytes, request: bytes) -> bytes:
    """Compute what shows that a request comes with a token, and is as its sender wrote it."""
    return hmac.digest(secret, token_id + request, "sha256")


# -- the operator -------------------------------------------------------------------------------


def invite(
    node: Node,
    invitations: Invitations,
    *,
    scope: Scope,
    role: Role,
    addresses: tuple[str, ...],
    name: str = "",
    rank: int | None = None,
    hours: float = MOST_HOURS,
    by_person: bool | None = None,
    randomness: Randomness | None = None,
) -> tuple[Invitation, JoinToken]:
    """Make an invitation and its token.

    Args:
        addresses: of this node's service Enrolment, the best first; a token holds three.
        name: what the new node must be called; by default it says itself.
        by_person: whether a person approves whoever comes; by default for all but devices.

    Raises ``NodeError``: ``bad-hours``, ``too-many-invitations``, and like ``Refused`` everything
    that enrolling such a node would be refused for now (``wrong-place``, ``scope-taken``,
    ``duplicate-name``, ``wrong-mask``, …). Then nothing was stored.
    """
    if not 0 < hours <= MOST_HOURS:
        raise NodeError("bad-hours", f"An invitation holds for up to {MOST_HOURS:.0f} hours.")
    home, source, now = node.home, randomness or node.randomness, node.clock.now_ms()
    id_ = source.token(ID_BYTES)
    somebody = MembershipRequest(  # with new keys, and a name that nobody has if none is given
        key=SigningKey.generate().public,
        transport=transport_public_pem(generate_transport_key()),
        name=check_label(name) if name else f"invited-{id_.hex()}",
        scope=scope,
        role=role,
    )
    check_request(node, somebody, rank)
    invitation = Invitation(
        id=id_,
        secret=source.token(SECRET_BYTES),
        scope=scope,
        role=role,
        name=name,
        rank=rank,
        by_person=role is not Role.DEVICE if by_person is None else by_person,
        created_ms=now,
        expires_ms=now + round(hours * HOUR_MS),
    )
    token = JoinToken(
        network=Envelope.decode(home.network_envelope, LIMITS).digest,
        authority=authority_digest(authority_pem(home.folder / "tls", home.key)),
        addresses=addresses[:MOST_ADDRESSES],
        id=id_,
        secret=invitation.secret,
        scope=scope,
        role=role,
        expires_ms=invitation.expires_ms,
        name=name,
    )
    with invitations.transaction():
        check_distinct(invitations.live(now), scope, role, name)
        invitations.add(invitation, now)
    return invitation, token


def approve(node: Node, invitations: Invitations, name: str) -> Invitation:
    """Let in the node that waits under a name; works beside the running daemon.

    Raises ``NodeError`` ``no-invitation``, ``many-invitations``, ``nobody-waits`` for an invitation
    that nobody has used yet, and what ``certify_request`` raises; then it waits on.
    """
    with invitations.transaction():
        found = invitations.find(name, node.clock.now_ms())
        if found.state is State.OPEN:
            raise NodeError("nobody-waits", f"Nobody has come with the invitation {name!r} yet.")
        approved = invitations.mark(found, State.APPROVED)
    try:
        return settle(node, invitations, approved)
    except (NodeError, Refused) as error:
        if _decided_before_anything_was_written(error):
            with invitations.transaction():
                invitations.mark(approved, State.WAITING)
        raise


def dismiss(node: Node, invitations: Invitations, name: str) -> Invitation:
    """Refuse the node that waits under a name, or take back an invitation that nobody used.

    Raises ``NodeError`` ``no-invitation``, ``many-invitations``.
    """
    with invitations.transaction():
        found = invitations.find(name, node.clock.now_ms())
        if _was_certified(node, found):  # killed between the certificate and its mark
            raise NodeError(
                "token-used", f"{found.called} is a member already: `banyan node revoke` ends that."
            )
        ended = State.WITHDRAWN if found.state is State.OPEN else State.DISMISSED
        return invitations.mark(found, ended)


# -- whoever comes ------------------------------------------------------------------------------


class EnrolmentDesk:
    """Answers those who come with a token. Thread-safe.

    Args:
        invitations: of the same node.
        whereabouts: where children reach this node at present.
    """

    def __init__(
        self,
        node: Node,
        invitations: Invitations,
        whereabouts: Callable[[], Whereabouts],
    ) -> None:
        self._node, self._invitations, self._whereabouts = node, invitations, whereabouts

    @property
    def handlers(self) -> Mapping[str, Callable[[Caller, Any], Any]]:
        """The handlers by the names of the calls."""
        return {"Enrol": self.enrol, "EnrolStatus": self.enrol_status}

    def enrol(self, caller: Caller, request: peer_pb2.EnrolRequest) -> peer_pb2.EnrolReply:
        """Answer a request to become a member; the same key gets the same answer again.

        Raises ``NodeError``: ``too-large``, ``unknown-token``, ``wrong-token`` for a request that
        was not made with the token's secret, ``token-expired``, ``token-used`` by another key,
        ``token-withdrawn``, ``dismissed``, ``wrong-name``, ``suspended``, ``revoked``,
        ``bad-request``, ``not-ready``;
        ``Refused``: ``wrong-scope`` and ``wrong-role`` for another place than the invitation's, and
        what ``read_request`` and ``certify_request`` refuse. A refusal leaves an open invitation
        open.
        """
        return self._answer(caller, request, may_claim=True)

    def enrol_status(self, caller: Caller, request: peer_pb2.EnrolRequest) -> peer_pb2.EnrolReply:
        """Answer what became of a request; raises as ``enrol``, and ``not-asked`` before it."""
        return self._answer(caller, request, may_claim=False)

    def _answer(
        self, caller: Caller, request: peer_pb2.EnrolRequest, *, may_claim: bool
    ) -> peer_pb2.EnrolReply:
        invitation = self._authentic(request)
        asked = read_request(request.request)
        with self._invitations.transaction():
            invitation = self._invitations.get(invitation.id) or invitation
            if invitation.state is State.OPEN:
                if not may_claim:
                    raise NodeError("not-asked", "Nobody has used this token yet: ask for Enrol.")
                invitation = self._claim(invitation, asked, request.request)
                log.info(
                    "enrolment-asked",
                    name=asked.name,
                    scope=str(asked.scope),
                    state=invitation.state.value,
                    address=caller.address,
                )
        _check_claim(invitation, asked)
        if invitation.state is State.WAITING:
            return peer_pb2.EnrolReply(waiting=True, retry_ms=RETRY_MS)
        if invitation.state is State.APPROVED:
            _check_claim(self._settle(invitation), asked)  # a person may have dismissed it just now
        return self._accepted(NodeId(asked.key.keyid))

    def _authentic(self, request: peer_pb2.EnrolRequest) -> Invitation:
        """Return the invitation whose secret the sender holds; nothing else was read before."""
        if len(request.request) > MAX_REQUEST_BYTES or len(request.token) != ID_BYTES:
            raise NodeError("too-large", f"A request has at most {MAX_REQUEST_BYTES} bytes.")
        invitation = self._invitations.get(request.token)
        if invitation is None:
            raise NodeError(
                "unknown-token", "This parent has made no such invitation. Ask it for a new one."
            )
        mac = mac_of(invitation.secret, request.token, request.request)
        if not hmac.compare_digest(mac, request.mac):
            raise NodeError(
                "wrong-token",
                "The request does not come with the secret of this invitation. Copy the whole "
                "token once more.",
            )
        return invitation

    def _claim(
        self, invitation: Invitation, asked: MembershipRequest, request: bytes
    ) -> Invitation:
        """Give an open invitation to a key that may have it. Within a transaction."""
        now = self._node.clock.now_ms()
        if now > invitation.expires_ms:
            raise NodeError("token-expired", "This invitation has ended. Ask for a new one.")
        if asked.role is not invitation.role:
            raise Refused(
                Code.WRONG_ROLE, f"The invitation is for a {invitation.role}, not a {asked.role}."
            )
        if asked.scope != invitation.scope:
            raise Refused(
                Code.WRONG_SCOPE, f"The invitation is for {invitation.scope}, not {asked.scope}."
            )
        if invitation.name and asked.name != invitation.name:
            raise NodeError(
                "wrong-name",
                f"The invitation is for a node called {invitation.name}: join with --name "
                f"{invitation.name}.",
            )
        check_request(self._node, asked, invitation.rank)
        known = self._node.state.membership.get(NodeId(asked.key.keyid))
        return self._invitations.claim(
            invitation,
            key=asked.key.keyid,
            request=request,
            asked=asked.name,
            before=known.certificate if known else "",
            now_ms=now,
        )

    def _settle(self, invitation: Invitation) -> Invitation:
        try:
            return settle(self._node, self._invitations, invitation)
        except (NodeError, Refused) as error:
            # A name that was free a moment ago: with another one, the token is still good.
            if not invitation.by_person and _decided_before_anything_was_written(error):
                with self._invitations.transaction():
                    self._invitations.reopen(invitation)
            raise

    def _accepted(self, child: NodeId) -> peer_pb2.EnrolReply:
        """Return the membership as it is now: renewed if it is due, with a new link certificate."""
        node, home = self._node, self._node.home
        sealed, certificate = renew_member(node, child), node.certificate_of(child)
        assert certificate is not None  # noqa: S101  members are never forgotten
        now = datetime.fromtimestamp(node.clock.now_ms() / 1000, UTC)
        tls, where = home.folder / "tls", self._whereabouts()
        if not where.addresses:
            raise PeerError(
                "not-ready",
                "The parent does not know where its children reach it: it has just been started, "
                "or its machine has no network.",
                RETRY_MS,
            )
        return peer_pb2.EnrolReply(
            network=home.network_envelope,
            path=[*path_envelopes(home.folder), sealed],
            layout=(home.folder / "layout.json").read_text("utf-8"),
            link=issue_link(tls, home.key, certificate, now),
            authority=authority_pem(tls, home.key),
            addresses=where.addresses,
            peers=where.peers,
            doors=where.doors,
        )


# -- from a claim to a member -------------------------------------------------------------------


def settle(node: Node, invitations: Invitations, claimed: Invitation) -> Invitation:
    """Make a member of the key whose claim was approved, once; return the invitation.

    Raises what ``certify_request`` raises.
    """
    with invitations.transaction():
        invitation = invitations.get(claimed.id)
        if invitation is None or invitation.state is not State.APPROVED:
            return invitation or claimed
        if not _was_certified(node, invitation):
            asked = read_request(invitation.request)
            certify_request(node, asked, invitation.rank)
            log.info("enrolled", name=asked.name, scope=str(asked.scope))
        return invitations.mark(invitation, State.USED)


def _was_certified(node: Node, invitation: Invitation) -> bool:
    """Whether the key of an invitation has another certificate here than before its claim."""
    if not invitation.key:
        return False
    with node.lock:
        node.catch_up()
        member = node.state.membership.get(NodeId(invitation.key))
    return member is not None and member.certificate != invitation.before


def _check_claim(invitation: Invitation, asked: MembershipRequest) -> None:
    """Check that an invitation that is not open any more serves whoever asks."""
    if invitation.state is State.WITHDRAWN:
        raise NodeError("token-withdrawn", "This invitation was taken back. Ask for a new one.")
    if invitation.key != asked.key.keyid:
        raise NodeError(
            "token-used", "Another node has used this token; each lets in one. Ask for a new one."
        )
    if invitation.state is State.DISMISSED:
        raise NodeError("dismissed", "A person at the parent refused this request.")


def _decided_before_anything_was_written(error: NodeError | Refused) -> bool:
    """Whether the rules refused: what a disk does may come after the ledger's commit."""
    return isinstance(error, Refused) or error.code == "wrong-place"
