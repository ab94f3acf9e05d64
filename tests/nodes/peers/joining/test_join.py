"""A new node joins with a token, is interrupted anywhere, and believes nothing but its network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from nodes.config.files import load_config
from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.model.coordinates import coordinates_of
from nodes.peers.joining.desk import approve, dismiss
from nodes.peers.joining.join import Joined, Means, Way, Wishes, join_with_token, prepare
from nodes.peers.joining.token import JoinToken
from nodes.peers.wire.errors import PeerError
from nodes.state.home import Home, open_home
from nodes.trust.enrolment import read_request
from nodes.trust.link_certificates import LINK_FILE
from nodes.trust.network import init_network
from nodes.trust.tls import make_tls
from protocol import Digest, NodeId, Refused, Role, Scope, peer_pb2
from tests.nodes.network import add_child
from tests.nodes.peers.joining.test_desk import NOBODY, Office, is_refused

Change = Callable[[peer_pb2.EnrolReply], None]


class Killed(BaseException):
    """The process ends here."""


@dataclass
class World:
    """An office, and what a child's calls to it do; each of them may be made to fail."""

    office: Office
    base: Path
    change: Change = lambda _: None
    parent: NodeId | None = None
    steps: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    kill_at: str = ""
    on_pause: Callable[[float], None] = lambda _: None
    downs: int = 0
    starts_in: int = 0

    def join(self, folder: Path, token: JoinToken, **wishes: Any) -> Joined:
        return join_with_token(
            folder,
            token,
            Wishes(**wishes),
            Means(self._open_desk, self.fetch, self.fetch_base),
            SystemClock(),
            self,
            pause=self.on_pause,
        )

    def _open_desk(self, _: JoinToken) -> Asking:
        if self.starts_in:
            self.starts_in -= 1
            raise PeerError("link-down", "Nobody answers.")
        return Asking(self)

    def fetch(self, way: Way, digest: Digest, into: Path, on_progress: Any) -> None:
        self._reach("basis")
        assert way.credentials.certificate
        assert way.peers == ("10.0.0.7:9943",)
        data = self.office.node.home.basis_file.read_bytes()
        on_progress(len(data), len(data))
        into.write_bytes(data)
        self._reach("basis fetched")

    def fetch_base(self, way: Way, home: Home, into: Path, on_progress: Any) -> None:
        self._reach("base")
        assert way.parent == self.office.node.home.id
        assert home.network.base
        into.mkdir(exist_ok=True)
        on_progress(1, 1)

    def step(self, sentence: str) -> None:
        self.steps.append(sentence)
        self._reach("accepted" if sentence.startswith("Accepted") else "")

    def waits(self) -> None:
        self.steps.append("waits")

    def arrives(self, what: str, done: int, total: int) -> None:
        self.steps.append(f"{what} {done}/{total}")

    def _reach(self, place: str) -> None:
        if place and place == self.kill_at:
            raise Killed


class Asking:
    """The parent's desk, without a network between."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def parent(self) -> NodeId:
        return self._world.parent or self._world.office.node.home.id

    def ask(self, method: str, request: peer_pb2.EnrolRequest) -> peer_pb2.EnrolReply:
        world = self._world
        world.asked.append(method)
        if method == "EnrolStatus" and world.downs:
            world.downs -= 1
            raise PeerError("link-down", "Nobody answers.")
        desk = world.office.desk
        answer = (desk.enrol if method == "Enrol" else desk.enrol_status)(NOBODY, request)
        if world.kill_at == "answer lost":
            raise Killed
        world.change(answer)
        return answer

    def close(self) -> None:
        pass


@pytest.fixture
def world(tmp_path: Path, base: Path) -> Iterator[World]:
    with closing(Office(tmp_path, base)) as office:
        yield World(office, base)


def test_a_parent_that_was_started_a_moment_ago_is_waited_for(world: World, tmp_path: Path) -> None:
    waits: list[float] = []
    world.on_pause, world.starts_in = waits.append, 3
    world.join(tmp_path / "clinic", world.office.invite())
    assert len(waits) == 3
    assert sum("does not answer yet" in step for step in world.steps) == 1
    world.starts_in = 1000
    with pytest.raises(PeerError) as caught:
        world.join(tmp_path / "ward", world.office.invite())
    assert caught.value.code == "link-down"


def test_a_device_joins_with_a_token(world: World, tmp_path: Path) -> None:
    joined = world.join(tmp_path / "clinic", world.office.invite())
    home = open_home(tmp_path / "clinic", SystemClock().now_ms())
    assert (home.certificate.name, home.is_device) == ("clinic", True)
    assert (home.folder / LINK_FILE).exists()
    config = load_config(joined.config)
    assert config.uplink is not None
    assert config.uplink.addresses == ("10.0.0.7:9941",)
    assert config.model.base == home.folder / "base"
    assert world.steps == [
        "Found the parent that made the token.",
        "Accepted as clinic by test.",
        *(f"the coordinates {n}/{n}" for n in [home.basis_file.stat().st_size]),
        "the base 1/1",
        f"The base is in {home.folder / 'base'}.",
    ]


PLACES = ["answer lost", "accepted", "basis", "basis fetched", "base"]


@pytest.mark.parametrize("place", PLACES)
def test_interrupted_anywhere_the_same_call_goes_on(
    world: World, tmp_path: Path, place: str
) -> None:
    token, folder = world.office.invite(), tmp_path / "clinic"
    world.kill_at = place
    with pytest.raises(Killed):
        world.join(folder, token)
    world.kill_at = ""
    keys = (folder / "identity.pem").read_bytes()
    world.office.again()
    world.join(folder, token)
    again = world.join(folder, token)
    assert again.home.certificate.name == "clinic"
    assert (folder / "identity.pem").read_bytes() == keys
    assert world.office.enrolments() == 1


@pytest.mark.parametrize("lost", ["request.json", "identity.pem", "parent-addresses.json"])
def test_a_folder_that_was_begun_is_completed(world: World, tmp_path: Path, lost: str) -> None:
    token, folder = world.office.invite(), tmp_path / "clinic"
    if lost == "parent-addresses.json":
        world.join(folder, token)
    else:
        prepare(folder, token, "")
    (folder / lost).unlink()
    world.join(folder, token)
    assert world.office.members() == ["clinic"]


def test_an_interior_node_waits_and_hears_of_the_decision(world: World, tmp_path: Path) -> None:
    office = world.office
    token = office.invite("/en", Role.INTERIOR)
    pauses: list[float] = []

    def person(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            approve(office.node, office.invitations, "english")

    world.on_pause, world.downs = person, 2  # the parent starts anew meanwhile
    joined = world.join(tmp_path / "english", token, host="127.0.0.1", port=9950)
    assert world.asked == ["Enrol", *["EnrolStatus"] * 4]
    assert world.steps.count("waits") == 1
    assert all(1 <= pause <= 60 for pause in pauses)
    assert (joined.home.scope, joined.home.is_device) == (Scope("/en"), False)
    assert (joined.home.folder / "tls" / "ca.pem").exists()


def test_who_stops_waiting_goes_on_later(world: World, tmp_path: Path) -> None:
    office, folder = world.office, tmp_path / "english"
    token = office.invite("/en", Role.INTERIOR)

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    world.on_pause = stop
    with pytest.raises(KeyboardInterrupt):
        world.join(folder, token)
    approve(office.node, office.invitations, "english")
    assert world.join(folder, token).home.scope == Scope("/en")


def deciding(decide: Callable[..., object], office: Office) -> Callable[[float], None]:
    """A person who decides as soon as somebody waits."""

    def now(_: float) -> None:
        decide(office.node, office.invitations, "english")

    return now


def test_a_refusal_ends_the_joining_and_leaves_the_keys(world: World, tmp_path: Path) -> None:
    office, folder = world.office, tmp_path / "english"
    token = office.invite("/en", Role.INTERIOR)
    world.on_pause = deciding(dismiss, office)
    is_refused("dismissed", lambda: world.join(folder, token))
    is_refused("dismissed", lambda: world.join(folder, token))
    # With a new token the same folder goes on.
    world.on_pause = deciding(approve, office)
    assert world.join(folder, office.invite("/en", Role.INTERIOR)).home.scope == Scope("/en")


def test_another_name_can_be_tried(world: World, tmp_path: Path, base: Path) -> None:
    add_child(tmp_path / "root", tmp_path / "x" / "clinic", base)
    token, folder = world.office.invite(), tmp_path / "clinic"
    is_refused("duplicate-name", lambda: world.join(folder, token))
    assert world.join(folder, token, name="ward").home.certificate.name == "ward"


def test_the_name_in_the_token_is_taken(world: World, tmp_path: Path) -> None:
    joined = world.join(tmp_path / "somewhere", world.office.invite(name="ward-9"))
    assert joined.home.certificate.name == "ward-9"
    assert read_request((tmp_path / "somewhere" / "request.json").read_bytes()).name == "ward-9"


def test_a_folder_with_another_node_is_left_alone(world: World, tmp_path: Path, base: Path) -> None:
    token = world.office.invite()
    add_child(tmp_path / "root", tmp_path / "other", base)
    is_refused("exists", lambda: world.join(tmp_path / "other", token))
    world.join(tmp_path / "clinic", token)
    is_refused("exists", lambda: world.join(tmp_path / "clinic", world.office.invite()))
    (tmp_path / "file").write_text("")
    is_refused("exists", lambda: world.join(tmp_path / "file", token))
    is_refused("malformed", lambda: world.join(tmp_path / "new", token, name="\x1b[31m"))
    assert not (tmp_path / "new").exists()


def _without_path(reply: peer_pb2.EnrolReply) -> None:
    del reply.path[1:]


def _damage(field_: str, value: object) -> Change:
    def change(reply: peer_pb2.EnrolReply) -> None:
        if isinstance(value, list):
            getattr(reply, field_)[:] = value
        else:
            setattr(reply, field_, value)

    return change


BAD: dict[str, tuple[Change, str]] = {
    "network": (_damage("network", b"x"), "malformed"),
    "no certificate": (_without_path, "bad-answer"),
    "layout": (_damage("layout", "{}"), "bad-answer"),
    "authority": (_damage("authority", b"x"), "bad-answer"),
    "link": (_damage("link", b"x"), "bad-link"),
    "no address": (_damage("addresses", []), "bad-answer"),
    "a wrong address": (_damage("peers", ["http://x"]), "bad-answer"),
    "too many addresses": (_damage("doors", ["a:1"] * 9), "bad-answer"),
}


@pytest.mark.parametrize("what", BAD)
def test_an_answer_that_does_not_hold_makes_no_member(
    world: World, tmp_path: Path, what: str
) -> None:
    token, folder = world.office.invite(), tmp_path / "clinic"
    world.change, code = BAD[what]
    is_refused(code, lambda: world.join(folder, token))
    assert not (folder / "network.env").exists()
    world.change = lambda _: None
    assert world.join(folder, token).home.certificate.name == "clinic"


def test_an_answer_of_another_network_or_parent_makes_no_member(
    world: World, tmp_path: Path
) -> None:
    token = world.office.invite()
    other = replace(token, network=Digest("ab" * 32))
    is_refused("wrong-network", lambda: world.join(tmp_path / "a", other))
    world.parent = NodeId("cd" * 32)
    is_refused("bad-answer", lambda: world.join(tmp_path / "a", token))
    world.parent = None
    is_refused(
        "bad-answer",
        lambda: world.join(tmp_path / "a", replace(token, authority=Digest("00" * 32))),
    )


def test_an_authority_of_another_node_signs_no_link(
    world: World, tmp_path: Path, base: Path
) -> None:
    other = init_network(tmp_path / "other", "x", coordinates_of(base, rank=4), SystemClock())
    foreign = make_tls(other.folder / "tls", identity=other.key).ca.read_bytes()

    def both(reply: peer_pb2.EnrolReply) -> None:
        reply.link = foreign

    world.change = both
    is_refused("bad-link", lambda: world.join(tmp_path / "clinic", world.office.invite()))


def test_coordinates_of_another_network_are_refused(world: World, tmp_path: Path) -> None:
    token, folder = world.office.invite(), tmp_path / "clinic"
    good = world.office.node.home.basis_file

    def wrong(_way: Way, _digest: Digest, into: Path, _on_progress: Any) -> None:
        into.write_bytes(good.read_bytes()[:-1] + b"?")

    means = Means(lambda _: Asking(world), wrong, world.fetch_base)
    with pytest.raises(NodeError, match=r"^bad-answer: "):
        join_with_token(folder, token, Wishes(), means, SystemClock(), world)
    assert not (folder / "network.env").exists()
    world.join(folder, token)


def test_what_a_person_changed_in_node_toml_stays(world: World, tmp_path: Path) -> None:
    token, folder = world.office.invite(), tmp_path / "clinic"
    world.kill_at = "base"
    with pytest.raises(Killed):
        world.join(folder, token)
    with (folder / "node.toml").open("a", encoding="utf-8") as file:
        file.write("\n[training]\nsteps = 7\n")
    world.kill_at = ""
    assert load_config(world.join(folder, token).config).training.steps == 7


def test_a_base_that_is_here_is_not_fetched(world: World, tmp_path: Path, base: Path) -> None:
    world.kill_at = "base"
    joined = world.join(tmp_path / "clinic", world.office.invite(), base=base)
    assert load_config(joined.config).model.base == base


def test_prepare_refuses_what_no_certificate_may_hold(world: World, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"^malformed: "):
        prepare(tmp_path / "x", world.office.invite(), "x" * 200)
