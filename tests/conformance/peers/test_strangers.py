"""Attack: call without being a member, or call what only others may."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Mapping

import pytest
from google.protobuf.message import Message

from nodes.peers.wire.errors import HANDSHAKE_REFUSED
from nodes.peers.wire.methods import ENROLMENT, METHODS, PEER
from nodes.releases.publish import Made, publish
from nodes.trust.enrolment import resume, suspend
from nodes.trust.link_certificates import LINK_LIFE
from protocol import ReleaseKind, peer_pb2
from tests.conformance.peers.asking import (
    ANSWERED,
    Outcome,
    actor,
    ask,
    ask_on,
    call,
    channel_to,
    until,
)
from tests.conformance.peers.family import Family, later

VALID: Mapping[str, Message] = {
    "Status": peer_pb2.StatusRequest(nonce=b"n" * 32),
    "Report": peer_pb2.ReportRequest(),
    "WatchSnapshot": peer_pb2.WatchRequest(scope="/"),
    "Locate": peer_pb2.LocateRequest(digests=[b"d" * 32]),
    "Announce": peer_pb2.AnnounceRequest(digests=[b"d" * 32]),
    "Attend": peer_pb2.ChildSays(),
    "Authority": peer_pb2.AuthorityRequest(nonce=b"n" * 32),
}
"""A request that a member gets an answer to, for each call that asks for nothing in particular."""

PARTICULAR = {
    "Fetch": "not-here",
    "Receipt": "unknown-update",
    "Enrol": "too-large",
    "EnrolStatus": "too-large",
    "Renew": "malformed",
}
"""What the other calls say to a member that asks for nothing that is."""

OF_PEER = sorted(name for name, method in METHODS.items() if method.service == PEER)
OF_ENROLMENT = sorted(name for name, method in METHODS.items() if method.service == ENROLMENT)
OF_SIBLINGS = ["Announce", "Fetch", "Locate", "Status", "WatchSnapshot"]

SHUT_OUT = {
    "no certificate": HANDSHAKE_REFUSED,
    "another parent's of this network": HANDSHAKE_REFUSED,
    "another network's": HANDSHAKE_REFUSED,
    "ended": HANDSHAKE_REFUSED,
    "revoked": "revoked",
    "suspended": "suspended",
    "lapsed": "certificate-expired",
}
AT_SIBLINGS = SHUT_OUT | {"revoked": "not-a-member", "suspended": "not-a-member"}


def request_for(name: str) -> Message:
    digest = b"d" * 32
    particular: Mapping[str, Message] = {
        "Fetch": peer_pb2.FetchRequest(digest=digest, length=1),
        "Receipt": peer_pb2.ReceiptRequest(update=digest),
    }
    return VALID.get(name) or particular.get(name) or METHODS[name].request()


def test_every_call_is_attacked() -> None:
    """A call that is added needs a request here that is answered, or a code."""
    assert set(VALID) | set(PARTICULAR) == set(METHODS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_member_gets_an_answer(family: Family, name: str) -> None:
    target = family.target_of(METHODS[name].service)
    got = ask(target, family.members["two"].shown, name, request_for(name))
    assert got.code == PARTICULAR.get(name, ANSWERED), got


@pytest.mark.parametrize("name", OF_PEER)
@pytest.mark.parametrize("stranger", sorted(SHUT_OUT))
def test_a_stranger_gets_none_from_a_parent(family: Family, stranger: str, name: str) -> None:
    got = ask(family.children, family.strangers[stranger].shown, name, request_for(name))
    assert got.code == SHUT_OUT[stranger], got
    assert got.sentence.endswith(".")
    assert got.told == (got.code != HANDSHAKE_REFUSED)
    assert not got.replies


@pytest.mark.parametrize("name", OF_SIBLINGS)
@pytest.mark.parametrize("stranger", sorted(set(AT_SIBLINGS) - {"lapsed"}))
def test_a_stranger_gets_none_from_a_sibling(family: Family, stranger: str, name: str) -> None:
    got = ask(family.siblings, family.strangers[stranger].shown, name, request_for(name))
    assert got.code == AT_SIBLINGS[stranger], got
    assert got.sentence.endswith(".")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_sibling_answers_only_what_siblings_may_ask(family: Family, name: str) -> None:
    got = ask(family.siblings, family.members["two"].shown, name, request_for(name))
    if name not in OF_SIBLINGS:
        assert (got.code, got.told) == ("not-offered", True), got
    elif name == "WatchSnapshot":  # waits for a snapshot that the sibling has not installed
        assert got.code in (ANSWERED, "too-slow"), got
    else:
        assert got.code == PARTICULAR.get(name, ANSWERED), got


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_call_of_the_other_listener_is_not_offered(family: Family, name: str) -> None:
    wrong = family.door if METHODS[name].service == PEER else family.children
    got = ask(wrong, family.members["two"].shown, name, request_for(name))
    assert (got.code, got.told) == ("not-offered", True), got


@pytest.mark.parametrize("path", ["/banyan.peer.v1.Peer/Reveal", "/grpc.reflection.v1/List", "/"])
def test_an_unknown_call_is_not_offered(family: Family, path: str) -> None:
    for target in (family.children, family.door, family.siblings):
        with channel_to(target, family.members["two"].shown) as channel:
            got = call(channel, path, [b"\xff" * 100])
        assert (got.code, got.told) == ("not-offered", True), got
    with channel_to(family.children, family.strangers["revoked"].shown) as channel:
        assert call(channel, path, [b""]).code == "revoked"


@pytest.mark.parametrize("name", OF_PEER)
def test_a_certificate_that_ends_while_the_connection_is_open(family: Family, name: str) -> None:
    made = datetime.datetime.now(datetime.UTC) - LINK_LIFE + datetime.timedelta(seconds=50)
    ending = actor(family.root.home, family.members["two"].home, made)
    with channel_to(family.children, ending.shown) as channel:
        assert ask_on(channel, "Status").code == ANSWERED
        with later(family, 600_000):
            got = ask_on(channel, name, request_for(name))
        assert (got.code, got.told) == ("certificate-expired", True), got
        assert ask_on(channel, "Status").code == ANSWERED


@pytest.mark.parametrize("name", ["Attend", "WatchSnapshot"])
def test_who_is_shut_out_during_a_call_hears_no_more(family: Family, name: str) -> None:
    node, peers, victim = family.root.member.node, family.root.peers, family.members["en"]
    newest = peer_pb2.WatchRequest(scope="/", have=node.state.sequence)
    request = peer_pb2.ChildSays() if name == "Attend" else newest
    ended: list[Outcome] = []

    def attack() -> None:
        with channel_to(family.children, victim.shown) as channel:
            ended.append(ask_on(channel, name, request, first=10**9, timeout_s=60))

    attacking = threading.Thread(target=attack)
    attacking.start()
    until(lambda: family.running(victim.id))
    suspend(node, victim.id)
    publish(node, node.effective() + 1, Made(kind=ReleaseKind.BY_HAND))
    peers.look()
    attacking.join(30)
    resume(node, victim.id)
    (got,) = ended
    assert (got.code, got.told) == ("suspended", True), got
    assert name == "Attend" or not got.replies


@pytest.mark.parametrize(
    "scope", ["/en", "/en/healthcare", "/fr", "/x" * 500, "//", "../", "", "é"]
)
def test_no_member_gets_the_snapshot_of_another_scope(family: Family, scope: str) -> None:
    request = peer_pb2.WatchRequest(scope=scope)
    for target in (family.children, family.siblings):
        got = ask(target, family.members["two"].shown, "WatchSnapshot", request)
        assert got.code in ("wrong-scope", "malformed"), got
        assert got.told and not got.replies


def test_refusals_stand_in_the_ledger(family: Family) -> None:
    before = family.root.refused()
    for stranger in ("revoked", "suspended", "lapsed"):
        ask(family.children, family.strangers[stranger].shown, "Status")
    after = family.root.refused()
    for code in ("revoked", "suspended", "certificate-expired"):
        assert after.get(code, 0) == before.get(code, 0) + 1
