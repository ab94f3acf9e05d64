"""Who is let in with a token, by which code others are refused, and what survives a crash."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodes.errors import NodeError
from nodes.machine.clock import ManualClock, SystemClock
from nodes.peers.door import Whereabouts
from nodes.peers.joining import desk as desk_module
from nodes.peers.joining.desk import EnrolmentDesk, approve, dismiss, invite, mac_of
from nodes.peers.joining.invitations import FILE, Invitations, State
from nodes.peers.joining.token import JoinToken
from nodes.peers.wire.caller import Caller
from nodes.state.event_codec import events_of
from nodes.state.events import MemberEnrolled
from nodes.state.home import open_home
from nodes.state.node import Node
from nodes.trust import enrolment
from nodes.trust.enrolment import make_request, revoke, write_request
from protocol import Refused, Role, Scope, peer_pb2, verify_path
from tests.nodes.network import add_child, make_root

NOBODY = Caller(None, None, "", "10.0.0.9")
HOUR_MS = 3600 * 1000
DOORS = ("10.0.0.7:9942",)


class Office:
    """A root with its invitations and its desk; it can be opened anew, as after a ``kill -9``."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.clock = folder, ManualClock(SystemClock().now_ms())
        make_root(folder / "root", base)
        self.open()

    def open(self) -> None:
        self.node = Node(open_home(self.folder / "root", self.clock.now_ms()), self.clock)
        self.invitations = Invitations(self.folder / "root")
        self.desk = EnrolmentDesk(
            self.node,
            self.invitations,
            lambda: Whereabouts(("10.0.0.7:9941",), ("10.0.0.7:9943",), DOORS),
        )

    def close(self) -> None:
        self.invitations.close()
        self.node.close()

    def again(self) -> None:
        self.close()
        self.open()

    def invite(self, scope: str = "/", role: Role = Role.DEVICE, **more: Any) -> JoinToken:
        return invite(
            self.node,
            self.invitations,
            scope=Scope(scope),
            role=role,
            addresses=DOORS,
            **more,
        )[1]

    def state(self, token: JoinToken) -> State:
        found = self.invitations.get(token.id)
        assert found is not None
        return found.state

    def enrol(self, question: peer_pb2.EnrolRequest) -> peer_pb2.EnrolReply:
        return self.desk.enrol(NOBODY, question)

    def members(self) -> list[str]:
        membership = self.node.state.membership
        return sorted(m.name for m in membership.members if m.node in membership.active)

    def enrolments(self) -> int:
        return len(list(events_of(self.node.ledger, MemberEnrolled)))


def asking(folder: Path, token: JoinToken, name: str = "") -> peer_pb2.EnrolRequest:
    """What a new node in ``folder`` asks with a token."""
    if (folder / "identity.pem").exists():
        request = write_request(folder, name or folder.name, token.scope, token.role)
    else:
        request = make_request(folder, name or folder.name, token.scope, token.role)
    return question(token, request)


def question(token: JoinToken, request: bytes) -> peer_pb2.EnrolRequest:
    mac = mac_of(token.secret, token.id, request)
    return peer_pb2.EnrolRequest(token=token.id, request=request, mac=mac)


@pytest.fixture
def office(tmp_path: Path, base: Path) -> Iterator[Office]:
    with closing(Office(tmp_path, base)) as made:
        yield made


def is_refused(code: str, work: Callable[[], object]) -> None:
    with pytest.raises((NodeError, Refused), match=rf"^{code}: ") as refusal:
        work()
    assert isinstance(refusal.value, NodeError | Refused)
    assert refusal.value.sentence.endswith(".")


# -- devices, by token alone --------------------------------------------------------------------


def test_a_device_is_let_in_by_its_token_alone(office: Office, tmp_path: Path) -> None:
    token = office.invite()
    asked = asking(tmp_path / "clinic", token)
    reply = office.enrol(asked)
    network, path = verify_path(
        reply.network, list(reply.path), now_ms=office.clock.now_ms(), pinned=token.network
    )
    assert (path[-1].name, path[-1].role, path[-1].scope) == ("clinic", Role.DEVICE, Scope())
    assert network == office.node.home.network
    assert (reply.waiting, tuple(reply.doors), list(reply.peers)) == (
        False,
        DOORS,
        ["10.0.0.7:9943"],
    )
    assert reply.link.startswith(b"-----BEGIN CERTIFICATE")
    assert office.members() == ["clinic"]
    assert office.state(token) is State.USED


def test_whoever_asks_again_with_the_same_key_gets_the_same_answer(
    office: Office, tmp_path: Path
) -> None:
    token = office.invite(hours=1)
    asked = asking(tmp_path / "clinic", token)
    first = office.enrol(asked)
    office.again()
    office.clock.advance(3 * HOUR_MS)
    for _ in range(2):
        again = office.enrol(asked)
        assert (again.network, list(again.path), again.authority) == (
            first.network,
            list(first.path),
            first.authority,
        )
    assert list(office.desk.enrol_status(NOBODY, asked).path) == list(first.path)
    assert office.enrolments() == 1


def test_a_token_lets_in_one_key(office: Office, tmp_path: Path) -> None:
    token = office.invite()
    office.enrol(asking(tmp_path / "clinic", token))
    is_refused("token-used", lambda: office.enrol(asking(tmp_path / "ward", token)))
    office.again()
    is_refused("token-used", lambda: office.enrol(asking(tmp_path / "ward", token)))
    assert office.members() == ["clinic"]


def test_of_two_keys_that_come_at_once_exactly_one_is_let_in(
    office: Office, tmp_path: Path
) -> None:
    token = office.invite()
    questions = [asking(tmp_path / f"node-{i}", token) for i in range(6)]
    answers: list[str] = []
    begin = threading.Barrier(len(questions))

    def ask(asked: peer_pb2.EnrolRequest) -> None:
        begin.wait()
        try:
            answers.append("let in" if office.enrol(asked).path else "nothing")
        except NodeError as error:
            answers.append(error.code)

    threads = [threading.Thread(target=ask, args=(asked,)) for asked in questions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["let in"] + ["token-used"] * 5
    assert len(office.members()) == office.enrolments() == 1


def test_a_token_that_ended_lets_nobody_in(office: Office, tmp_path: Path) -> None:
    token = office.invite(hours=2)
    asked = asking(tmp_path / "clinic", token)
    office.clock.advance(2 * HOUR_MS + 1)
    is_refused("token-expired", lambda: office.enrol(asked))
    assert office.members() == []


def test_a_token_is_proven_by_its_secret(office: Office, tmp_path: Path) -> None:
    token = office.invite()
    asked = asking(tmp_path / "clinic", token)
    wrong = replace(token, secret=bytes(16))
    is_refused("wrong-token", lambda: office.enrol(question(wrong, asked.request)))
    unknown = replace(token, id=bytes(8))
    is_refused("unknown-token", lambda: office.enrol(question(unknown, asked.request)))
    # The request of another, sent with what was seen of this one.
    other = make_request(tmp_path / "thief", "thief", Scope(), Role.DEVICE)
    stolen = peer_pb2.EnrolRequest(token=token.id, request=other, mac=asked.mac)
    is_refused("wrong-token", lambda: office.enrol(stolen))
    assert office.state(token) is State.OPEN
    assert office.enrol(asked).path


def test_a_request_must_be_what_the_invitation_says(office: Office, tmp_path: Path) -> None:
    device = office.invite()
    tier = replace(device, role=Role.INTERIOR, scope=Scope("/en"))
    is_refused("wrong-role", lambda: office.enrol(asking(tmp_path / "a", tier)))
    elsewhere = replace(device, scope=Scope("/de"))
    is_refused("wrong-scope", lambda: office.enrol(asking(tmp_path / "b", elsewhere)))
    named = office.invite(name="clinic")
    is_refused("wrong-name", lambda: office.enrol(asking(tmp_path / "c", named)))
    assert office.state(device) is office.state(named) is State.OPEN
    assert office.enrol(asking(tmp_path / "c", named, name="clinic")).path


@pytest.mark.parametrize(
    ("request_", "code"),
    [(b"", "bad-request"), (b"[" * 8000, "bad-request"), (b" " * 20_000, "too-large")],
)
def test_what_is_no_request_leaves_the_token_open(
    office: Office, request_: bytes, code: str
) -> None:
    token = office.invite()
    is_refused(code, lambda: office.enrol(question(token, request_)))
    assert office.state(token) is State.OPEN


def test_a_name_that_is_taken_leaves_the_token_open(office: Office, tmp_path: Path) -> None:
    office.enrol(asking(tmp_path / "clinic", office.invite()))
    token = office.invite()
    is_refused(
        "duplicate-name", lambda: office.enrol(asking(tmp_path / "two", token, name="clinic"))
    )
    assert office.enrol(asking(tmp_path / "two", token, name="clinic-2")).path
    assert office.members() == ["clinic", "clinic-2"]


def test_a_name_that_was_taken_in_between_leaves_the_token_open(
    office: Office, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = office.invite()

    def another_is_quicker(*_: object) -> None:
        add_child(tmp_path / "root", tmp_path / "quick" / "clinic", base)

    monkeypatch.setattr(desk_module, "check_request", another_is_quicker)
    is_refused("duplicate-name", lambda: office.enrol(asking(tmp_path / "clinic", token)))
    monkeypatch.undo()
    assert office.state(token) is State.OPEN
    assert office.enrol(asking(tmp_path / "clinic", token, name="ward")).path


def test_a_revoked_member_gets_nothing_by_its_old_token(office: Office, tmp_path: Path) -> None:
    asked = asking(tmp_path / "clinic", office.invite())
    office.enrol(asked)
    revoke(office.node, office.node.state.membership.active[0])
    is_refused("revoked", lambda: office.enrol(asked))
    office.enrol(asking(tmp_path / "clinic", office.invite()))  # a new invitation pardons
    assert office.enrol(asked).path
    assert office.members() == ["clinic"]


# -- crashes ------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("after_the_certificate", [False, True])
def test_a_kill_between_claim_and_mark_keeps_the_token_for_its_key(
    office: Office,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after_the_certificate: bool,
) -> None:
    token = office.invite()
    asked = asking(tmp_path / "clinic", token)
    certify = enrolment.certify_request

    def kill(*arguments: Any) -> bytes:
        if after_the_certificate:
            certify(*arguments)
        raise Killed

    monkeypatch.setattr(desk_module, "certify_request", kill)
    with pytest.raises(Killed):
        office.enrol(asked)
    monkeypatch.undo()
    office.again()
    is_refused("token-used", lambda: office.enrol(asking(tmp_path / "thief", token)))
    assert office.enrol(asked).path
    assert (office.enrolments(), office.members()) == (1, ["clinic"])


def test_a_revocation_after_such_a_kill_stands(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asking(tmp_path / "clinic", office.invite())
    certify = enrolment.certify_request

    def kill(*arguments: Any) -> bytes:
        certify(*arguments)
        raise Killed

    monkeypatch.setattr(desk_module, "certify_request", kill)
    with pytest.raises(Killed):
        office.enrol(asked)
    monkeypatch.undo()
    office.again()
    revoke(office.node, office.node.state.membership.active[0])
    is_refused("revoked", lambda: office.enrol(asked))
    assert office.members() == []


# -- with a person's approval -------------------------------------------------------------------


def test_an_interior_node_waits_for_a_person(office: Office, tmp_path: Path) -> None:
    token = office.invite("/en", Role.INTERIOR)
    asked = asking(tmp_path / "english", token)
    is_refused("not-asked", lambda: office.desk.enrol_status(NOBODY, asked))
    is_refused("nobody-waits", lambda: approve(office.node, office.invitations, token.id.hex()))
    first = office.enrol(asked)
    assert (first.waiting, list(first.path), first.link) == (True, [], b"")
    assert first.retry_ms > 0
    office.again()
    office.clock.advance(48 * HOUR_MS)  # a person need not decide before the invitation ends
    assert office.desk.enrol_status(NOBODY, asked).waiting
    is_refused("token-used", lambda: office.enrol(asking(tmp_path / "other", token)))
    assert office.members() == []

    with closing(Invitations(tmp_path / "root")) as beside:  # as a command does
        node = Node(open_home(tmp_path / "root", office.clock.now_ms()), office.clock)
        with closing(node):
            assert approve(node, beside, "english").state is State.USED
    reply = office.desk.enrol_status(NOBODY, asked)
    assert not reply.waiting
    assert reply.path
    assert office.members() == ["english"]


def test_a_person_may_refuse_and_take_back(office: Office, tmp_path: Path) -> None:
    waiting = office.invite("/en", Role.INTERIOR)
    asked = asking(tmp_path / "english", waiting)
    office.enrol(asked)
    assert dismiss(office.node, office.invitations, "english").state is State.DISMISSED
    is_refused("dismissed", lambda: office.enrol(asked))
    is_refused("dismissed", lambda: office.desk.enrol_status(NOBODY, asked))
    is_refused("token-used", lambda: office.enrol(asking(tmp_path / "other", waiting)))
    is_refused("no-invitation", lambda: approve(office.node, office.invitations, "english"))

    unused = office.invite(name="clinic")
    assert dismiss(office.node, office.invitations, "clinic").state is State.WITHDRAWN
    office.again()
    is_refused("token-withdrawn", lambda: office.enrol(asking(tmp_path / "clinic", unused)))
    assert office.members() == []


def test_who_cannot_be_enrolled_when_a_person_approves_waits_on(
    office: Office, tmp_path: Path, base: Path
) -> None:
    token = office.invite("/en", Role.INTERIOR)
    asked = asking(tmp_path / "english", token)
    office.enrol(asked)
    add_child(tmp_path / "root", tmp_path / "quick", base, scope="/en", role=Role.INTERIOR)
    is_refused("scope-taken", lambda: approve(office.node, office.invitations, "english"))
    assert office.enrol(asked).waiting


def test_a_kill_while_a_person_approves_lets_in_once(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asking(tmp_path / "english", office.invite("/en", Role.INTERIOR))
    office.enrol(asked)
    certify = enrolment.certify_request

    def kill(*arguments: Any) -> bytes:
        certify(*arguments)
        raise Killed

    monkeypatch.setattr(desk_module, "certify_request", kill)
    with pytest.raises(Killed):
        approve(office.node, office.invitations, "english")
    monkeypatch.undo()
    office.again()
    is_refused("token-used", lambda: dismiss(office.node, office.invitations, "english"))
    assert office.enrol(asked).path
    assert office.enrolments() == 1


def test_requests_of_one_name_are_told_apart_by_id(office: Office, tmp_path: Path) -> None:
    tokens = [office.invite(by_person=True) for _ in range(2)]
    for number, token in enumerate(tokens):
        assert office.enrol(asking(tmp_path / str(number), token, name="clinic")).waiting
    is_refused("many-invitations", lambda: approve(office.node, office.invitations, "clinic"))
    approve(office.node, office.invitations, tokens[1].id.hex())
    is_refused("duplicate-name", lambda: approve(office.node, office.invitations, "clinic"))


# -- inviting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"scope": "/en"}, "wrong-place"),
        ({"scope": "/en/healthcare", "role": Role.INTERIOR}, "wrong-place"),
        ({"name": "two\nlines"}, "malformed"),
        ({"name": "taken"}, "duplicate-name"),
        ({"name": "promised"}, "duplicate-name"),
        ({"scope": "/de", "role": Role.INTERIOR}, "scope-taken"),
        ({"scope": "/fr", "role": Role.INTERIOR}, "scope-taken"),
        ({"hours": 0}, "bad-hours"),
        ({"hours": 24.1}, "bad-hours"),
        ({"hours": float("nan")}, "bad-hours"),
        ({"rank": 99}, "wrong-mask"),
    ],
)
def test_what_could_not_be_enrolled_is_not_invited(
    office: Office, tmp_path: Path, base: Path, more: dict[str, Any], code: str
) -> None:
    add_child(tmp_path / "root", tmp_path / "taken", base)
    add_child(tmp_path / "root", tmp_path / "german", base, scope="/de", role=Role.INTERIOR)
    office.invite(name="promised")
    office.invite("/fr", Role.INTERIOR)
    before = len(office.invitations.all())
    is_refused(code, lambda: office.invite(**more))
    assert len(office.invitations.all()) == before


def test_a_name_and_a_scope_are_free_again_when_their_invitation_ends(office: Office) -> None:
    office.invite("/fr", Role.INTERIOR, name="french", hours=1)
    office.clock.advance(2 * HOUR_MS)
    office.invite("/fr", Role.INTERIOR, name="french")


def test_a_rank_is_kept_for_the_certificate(office: Office, tmp_path: Path) -> None:
    reply = office.enrol(asking(tmp_path / "clinic", office.invite(rank=2)))
    _, path = verify_path(reply.network, list(reply.path), now_ms=office.clock.now_ms())
    assert path[-1].mask_rank == 2


def test_invitations_are_bounded_and_the_oldest_ended_ones_go(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.peers.joining.invitations.MOST_LIVE", 3)
    monkeypatch.setattr("nodes.peers.joining.invitations.MOST_KEPT", 4)
    first = office.invite(hours=1)
    for _ in range(2):
        office.invite(hours=1)
        office.clock.advance(1)
    is_refused("too-many-invitations", office.invite)
    office.clock.advance(2 * HOUR_MS)
    for _ in range(3):
        office.invite()
    assert len(office.invitations.all()) == 4
    assert office.invitations.get(first.id) is None


def test_secrets_are_for_nobody_else(office: Office) -> None:
    token = office.invite()
    invitation = office.invitations.get(token.id)
    assert token.secret.hex() not in repr(invitation)
    assert repr(token.secret) not in repr(invitation)
    for file in office.folder.glob(f"root/{FILE}*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with Invitations(tmp_path, read_only=True) as invitations:
        assert invitations.all() == []
    assert not list(tmp_path.iterdir())
