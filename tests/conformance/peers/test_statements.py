"""Attack: say what is not so: statuses, addresses, and renewals that are others' or forged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from nodes.peers.circle.keeper import CIRCLE_FILE
from nodes.peers.statuses.service import MOST_IN_A_REPORT, MOST_NAMED
from nodes.state.event_codec import events_of
from nodes.state.events import UpdateAccepted
from protocol import (
    LIMITS,
    Circle,
    Envelope,
    PublicKey,
    Renewal,
    Role,
    Scope,
    open_envelope,
    peer_pb2,
    seal,
)
from protocol.peer_pb2 import Signed
from tests.conformance.peers.asking import ANSWERED, Actor, Outcome, ask
from tests.conformance.peers.family import Family
from tests.nodes.peers.statuses.world import Signer


def signer(actor: Actor) -> Signer:
    home = actor.home
    return Signer(home.network, home.key, home.certificate, home.path_envelopes[-1])


def report(family: Family, who: Actor, request: peer_pb2.ReportRequest) -> peer_pb2.ReportReply:
    got = ask(family.children, who.shown, "Report", request)
    assert got.code == ANSWERED, got
    return peer_pb2.ReportReply.FromString(got.replies[0])


def refused(family: Family, who: Actor, *statuses: Signed) -> list[str]:
    """The codes by which a report's statuses are refused."""
    reply = report(family, who, peer_pb2.ReportRequest(statuses=statuses))
    assert all(each.sentence.endswith(".") for each in reply.refused)
    return [each.code for each in reply.refused]


def kept(family: Family) -> set[str]:
    return {row.name for row in family.root.peers._parts.file.rows()}


# -- Report


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": Scope("/fr")},
        {"role": Role.INTERIOR},
        {"name": "somebody"},
        {"network": "ab" * 32},
        {"node": "ab" * 32},
        {"nonce": b"n" * 32},
        {"issued_ms": 2**52},
    ],
)
def test_a_forged_status_of_its_own_is_refused(family: Family, changes: dict[str, Any]) -> None:
    two, now = family.members["two"], family.tree.clock.now_ms()
    status = replace(signer(two).status(now), **changes)
    sealed = Signed(statement=seal(status, two.home.key).encode())
    assert len(refused(family, two, sealed)) == 1
    assert "two" not in kept(family)


def test_statuses_of_others_and_altered_ones_are_refused(family: Family) -> None:
    two, en, now = family.members["two"], family.members["en"], family.tree.clock.now_ms()
    of_sibling = signer(en).signed(now)
    altered = Signed()
    altered.CopyFrom(signer(two).signed(now))
    altered.statement = altered.statement[:-1] + bytes([altered.statement[-1] ^ 1])
    above = family.root.home
    of_parent = Signer(above.network, above.key, above.certificate, above.path_envelopes[-1])
    stranger = signer(family.strangers["another network's"])
    below = signer(two).below("sensor", now_ms=now)
    cases = {
        "a sibling's": of_sibling,
        "altered": altered,
        "the parent's": of_parent.signed(now),
        "another network's": stranger.signed(now),
        "below a device": below.signed(now),
        "rubbish": Signed(statement=b"\xff" * 100),
        "rubbish for a certificate": Signed(statement=of_sibling.statement, certificate=b"\xff"),
        "oversized": Signed(statement=bytes(300 * 1024)),
    }
    for what, signed in cases.items():
        assert len(refused(family, two, signed)) == 1, what
    assert not {"two", "en", "sensor", "foreign"} & kept(family)


def test_more_statuses_than_a_report_has(family: Family) -> None:
    two = family.members["two"]
    many = [Signed(statement=b"x")] * 10_000
    got = ask(family.children, two.shown, "Report", peer_pb2.ReportRequest(statuses=many))
    assert (got.code, got.told) == ("too-large", True), got
    reply = report(family, two, peer_pb2.ReportRequest(statuses=many[:MOST_IN_A_REPORT]))
    assert len(reply.refused) == MOST_NAMED


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nowhere",
        "host:0",
        "host:65536",
        "https://host:1",
        "0.0.0.0:5",
        "a b:1",
        "[::1%lo]:5",
        "\u0000:1",
        "x" * 10_000 + ":1",
    ],
)
def test_addresses_that_are_none(family: Family, address: str) -> None:
    request = peer_pb2.ReportRequest(addresses=["127.0.0.1:9", address])
    got = ask(family.children, family.members["two"].shown, "Report", request)
    assert (got.code, got.told) == ("bad-address", True), got


@pytest.mark.parametrize("port", [65_536, 2**32 - 1])
def test_a_swarm_port_that_is_none_changes_no_circle(family: Family, port: int) -> None:
    two, other = family.members["two"], family.members["en"]
    request = peer_pb2.ReportRequest(swarm_port=port)
    got = ask(family.children, two.shown, "Report", request)
    assert (got.code, got.told) == ("bad-address", True), got
    circle = open_envelope(
        Envelope.decode(report(family, other, peer_pb2.ReportRequest()).circle),
        Circle,
        PublicKey.from_raw(family.root.home.certificate.public_key),
    )
    assert two.id in {member.node for member in circle.members}


def test_a_child_cannot_make_its_parent_keep_more_than_some_addresses(family: Family) -> None:
    many = [f"10.0.{n // 256}.{n % 256}:5" for n in range(10_000)]
    two = family.members["two"]
    got = ask(family.children, two.shown, "Report", peer_pb2.ReportRequest(addresses=many))
    assert got.code in (ANSWERED, "too-large", "bad-address"), got
    plain = json.loads((family.root.home.folder / CIRCLE_FILE).read_text())
    contact = plain["contacts"].get(two.id, {"claimed": []})
    assert len(contact["claimed"]) <= 8


# -- Receipt


def test_the_receipt_of_anothers_update_is_not_given(family: Family) -> None:
    node = family.root.member.node
    for event in events_of(node.ledger, UpdateAccepted):
        assert isinstance(event, UpdateAccepted)
        request = peer_pb2.ReceiptRequest(update=bytes.fromhex(event.seat.update))
        for name in ("one", "two", "en"):
            member = family.members[name]
            got = ask(family.children, member.shown, "Receipt", request)
            expected = ANSWERED if member.id == event.child else "unknown-update"
            assert got.code == expected, got


@pytest.mark.parametrize("size", [0, 31, 33, 100_000])
def test_an_update_that_is_no_digest(family: Family, size: int) -> None:
    request = peer_pb2.ReceiptRequest(update=bytes(size))
    got = ask(family.children, family.members["two"].shown, "Receipt", request)
    assert (got.code, got.told) == ("malformed", True), got


@pytest.mark.parametrize("size", [33, 100_000])
def test_a_status_nonce_that_is_too_long(family: Family, size: int) -> None:
    request = peer_pb2.StatusRequest(nonce=bytes(size))
    for target in (family.children, family.siblings):
        got = ask(target, family.members["two"].shown, "Status", request)
        assert (got.code, got.told) == ("malformed", True), got


# -- the door


def at_door(family: Family, name: str, request: Any) -> Outcome:
    return ask(family.door, family.strangers["no certificate"].shown, name, request)


def renewal(actor: Actor, **changes: Any) -> Renewal:
    home = actor.home
    values: dict[str, Any] = {
        "network": home.network.network,
        "node": home.id,
        "key_epoch": home.certificate.key_epoch,
        "issued_ms": 1_700_000_000_000,
    }
    return Renewal(**values | changes)


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("another's identity", "bad-signature"),
        ("nobody's identity", "not-a-member"),
        ("another network", "wrong-network"),
        ("another epoch", "wrong-key-epoch"),
        ("another network's member", "not-a-member"),
        ("a device of another parent", "not-a-member"),
        ("another statement", "unknown-type"),
        ("altered", "bad-signature"),
        ("revoked", "revoked"),
        ("suspended", "suspended"),
        ("garbage", "malformed"),
        ("nothing", "malformed"),
        ("oversized", "too-large"),
    ],
)
def test_a_renewal_that_is_not_ones_own(family: Family, what: str, code: str) -> None:
    two, en = family.members["two"], family.members["en"]
    key = two.home.key
    altered = bytearray(seal(renewal(two), key).encode())
    altered[-1] ^= 1
    foreign = family.strangers["another network's"]
    elsewhere = family.strangers["another parent's of this network"]
    requests = {
        "another's identity": seal(renewal(en), key).encode(),
        "nobody's identity": seal(renewal(two, node="ab" * 32), key).encode(),
        "another network": seal(renewal(two, network="ab" * 32), key).encode(),
        "another epoch": seal(renewal(two, key_epoch=7), key).encode(),
        "another network's member": seal(renewal(foreign), foreign.home.key).encode(),
        "a device of another parent": seal(renewal(elsewhere), elsewhere.home.key).encode(),
        "another statement": seal(signer(two).status(1_700_000_000_000), key).encode(),
        "altered": bytes(altered),
        "garbage": b"\xff" * 1000,
        "nothing": b"",
        "oversized": bytes(LIMITS.answer_bytes + 1),
    }
    if what in ("revoked", "suspended"):
        out = family.strangers[what]
        requests[what] = seal(renewal(out), out.home.key).encode()
    got = at_door(family, "Renew", peer_pb2.RenewRequest(renewal=requests[what]))
    assert (got.code, got.told) == (code, True), got
    assert got.sentence.endswith(".")


def test_an_old_renewal_again_gives_its_thief_nothing_to_use(family: Family) -> None:
    """The answer is for the member's transport key, which the thief does not have."""
    two = family.members["two"]
    old = seal(renewal(two), two.home.key).encode()
    got = at_door(family, "Renew", peer_pb2.RenewRequest(renewal=old))
    assert got.code == ANSWERED
    reply = peer_pb2.RenewReply.FromString(got.replies[0])
    thief = family.strangers["another network's"]
    shown = replace(thief.shown, certificate=reply.link)
    stolen = ask(family.children, shown, "Status", timeout_s=5)
    assert stolen.code not in (ANSWERED,), stolen


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64, 100_000])
def test_an_authority_is_asked_for_with_a_nonce(family: Family, size: int) -> None:
    got = at_door(family, "Authority", peer_pb2.AuthorityRequest(nonce=bytes(size)))
    assert (got.code, got.told) == ("malformed", True), got
