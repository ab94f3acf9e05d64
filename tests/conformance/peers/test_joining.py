"""Attack: join with a token that is used, over, altered, or somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.errors import NodeError
from nodes.peers.joining.desk import HOUR_MS, invite, mac_of
from nodes.peers.joining.invitations import Invitations
from nodes.peers.joining.token import JoinToken
from nodes.trust.enrolment import MAX_REQUEST_BYTES, make_request
from protocol import Role, Scope
from protocol.peer_pb2 import EnrolReply, EnrolRequest
from tests.conformance.peers.asking import ANSWERED, Outcome, ask
from tests.conformance.peers.family import Family, later

CALLS = ["Enrol", "EnrolStatus"]


def invited(family: Family, scope: str = "/", role: Role = Role.DEVICE) -> JoinToken:
    node = family.root.member.node
    with Invitations(node.home.folder) as invitations:
        _, token = invite(
            node,
            invitations,
            scope=Scope(scope),
            role=role,
            addresses=(family.door.address,),
            hours=1,
        )
    return JoinToken.decode(token.encode())


def question(token: JoinToken, request: bytes) -> EnrolRequest:
    mac = mac_of(token.secret, token.id, request)
    return EnrolRequest(token=token.id, request=request, mac=mac)


def at_door(family: Family, name: str, request: EnrolRequest | bytes) -> Outcome:
    got = ask(family.door, family.strangers["no certificate"].shown, name, request)
    if got.code != ANSWERED:
        assert got.told and got.sentence.endswith("."), got
    return got


def members(family: Family) -> int:
    node = family.root.member.node
    node.catch_up()
    return len(node.state.membership.members)


def test_a_token_lets_in_one_key_and_that_one_again(family: Family, tmp_path: Path) -> None:
    token = invited(family)
    request = make_request(tmp_path / "ward", "ward", token.scope, token.role)
    assert at_door(family, "EnrolStatus", question(token, request)).code == "not-asked"
    before = members(family)
    for _ in range(2):
        got = at_door(family, "Enrol", question(token, request))
        assert got.code == ANSWERED
        assert EnrolReply.FromString(got.replies[0]).link
    thief = make_request(tmp_path / "thief", "thief", token.scope, token.role)
    for name in CALLS:
        assert at_door(family, name, question(token, thief)).code == "token-used"
    assert members(family) == before + 1


def test_a_token_after_its_time(family: Family, tmp_path: Path) -> None:
    token, before = invited(family), members(family)
    request = make_request(tmp_path / "late", "late", token.scope, token.role)
    with later(family, HOUR_MS + 1000):
        assert at_door(family, "Enrol", question(token, request)).code == "token-expired"
    assert members(family) == before


def test_a_token_with_one_letter_changed(family: Family) -> None:
    word = invited(family).encode()
    for place in range(len(word)):
        letter = "A" if word[place] != "A" else "B"
        with pytest.raises(NodeError, match=r"^bad-token: "):
            JoinToken.decode(word[:place] + letter + word[place + 1 :])


@pytest.mark.parametrize("name", CALLS)
def test_a_request_with_one_byte_changed_or_for_another_token(
    family: Family, tmp_path: Path, name: str
) -> None:
    token, other, before = invited(family), invited(family), members(family)
    request = make_request(tmp_path / "ward2", "ward2", token.scope, token.role)
    good = question(token, request)
    altered = bytearray(request)
    altered[len(altered) // 2] ^= 1
    cases: dict[str, tuple[EnrolRequest, str]] = {
        "altered": (
            EnrolRequest(token=token.id, request=bytes(altered), mac=good.mac),
            "wrong-token",
        ),
        "mac of another token": (
            EnrolRequest(token=other.id, request=request, mac=good.mac),
            "wrong-token",
        ),
        "no mac": (EnrolRequest(token=token.id, request=request), "wrong-token"),
        "a long mac": (
            EnrolRequest(token=token.id, request=request, mac=bytes(100_000)),
            "wrong-token",
        ),
        "unknown token": (EnrolRequest(token=b"12345678", request=request), "unknown-token"),
        "a long token": (EnrolRequest(token=bytes(100_000), request=request), "too-large"),
        "an oversized request": (question(token, bytes(MAX_REQUEST_BYTES + 1)), "too-large"),
        "garbage": (question(token, b"\xff" * 1000), "bad-request"),
        "nothing": (question(token, b""), "bad-request"),
    }
    for what, (asked, code) in cases.items():
        assert at_door(family, name, asked).code == code, what
    assert members(family) == before


@pytest.mark.parametrize(
    ("scope", "role", "code"),
    [("/", Role.INTERIOR, "wrong-role"), ("/de", Role.DEVICE, "wrong-scope")],
)
def test_a_request_for_another_place_than_invited_to(
    family: Family, tmp_path: Path, scope: str, role: Role, code: str
) -> None:
    token, before = invited(family), members(family)
    request = make_request(tmp_path / "climber", "climber", Scope(scope), role)
    assert at_door(family, "Enrol", question(token, request)).code == code
    assert members(family) == before


def test_a_tier_waits_for_a_person(family: Family, tmp_path: Path) -> None:
    token, before = invited(family, "/es", Role.INTERIOR), members(family)
    request = make_request(tmp_path / "es", "es", token.scope, token.role)
    for name in (*CALLS, *CALLS):
        got = at_door(family, name, question(token, request))
        reply = EnrolReply.FromString(got.replies[0])
        assert (reply.waiting, reply.link, list(reply.path)) == (True, b"", [])
    assert members(family) == before


def test_a_revoked_members_key_is_not_let_in_by_its_old_token(
    family: Family, tmp_path: Path
) -> None:
    from nodes.trust.enrolment import revoke

    token, folder = invited(family), tmp_path / "gone"
    request = make_request(folder, "gone", token.scope, token.role)
    assert at_door(family, "Enrol", question(token, request)).code == ANSWERED
    node = family.root.member.node
    member = next(m for m in node.state.membership.members if m.name == "gone")
    revoke(node, member.node)
    for name in CALLS:
        assert at_door(family, name, question(token, request)).code == "revoked"
