"""Claims about reports: when they are made, what is in them, and how they go on after a failure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nodes.machine.clock import ManualClock, SystemClock
from nodes.machine.troubles import Troubles
from nodes.peers.statuses.book import StatusBook
from nodes.peers.statuses.own import OwnStatus
from nodes.peers.statuses.reporter import ALL_AGAIN_S, GATHER_S, Reporter
from nodes.peers.statuses.rows import STATUSES_FILE, StatusFile
from nodes.peers.statuses.service import StatusService
from nodes.peers.wire.caller import Caller
from nodes.peers.wire.errors import PeerError
from nodes.state.node import Node
from nodes.trust.enrolment import suspend
from protocol import Certificate, Envelope, Role, Status
from protocol.peer_pb2 import ReportReply, ReportRequest, StatusRequest
from tests.nodes.peers.statuses.world import a_child, a_member, a_root, reopened


@dataclass
class Level:
    """One node with its book and its service."""

    node: Node
    clock: ManualClock
    folder: Path
    confined: bool = False
    book: StatusBook = field(init=False)
    own: OwnStatus = field(init=False)
    troubles: Troubles = field(init=False)

    def __post_init__(self) -> None:
        self.book = StatusBook(self.node, StatusFile(self.folder))
        self.own = OwnStatus(self.node, self.book, confined=self.confined)
        self.troubles = Troubles(self.folder / "troubles.json", self.clock)

    @property
    def codes(self) -> dict[str, str]:
        return {trouble.key: trouble.code for trouble in self.troubles.standing}

    def kept(self) -> set[str]:
        return {row.name for row in self.book.file.rows() if row.tier > 0}


@dataclass
class Tree:
    """A root, a node ``en`` with two synthetic devices, and ``en``'s reporter to the root."""

    root: Level
    en: Level
    clock: ManualClock
    fails: Exception | None = None
    reports: list[ReportRequest] = field(default_factory=list)
    reporter: Reporter = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A reporter as a process that starts now has it."""
        home = self.en.node.home
        self.reporter = Reporter(
            home.id, self.en.own, self.en.book, self.report, self.clock, self.en.troubles
        )

    def report(self, request: ReportRequest) -> ReportReply:
        self.reports.append(request)
        if self.fails is not None:
            raise self.fails
        service = StatusService(self.root.own, self.root.book, self.root.troubles)
        caller = Caller(self.en.node.home.id, Role.INTERIOR, "en", "127.0.0.1")
        return service.report(caller, request)

    def steps(self, seconds: float) -> None:
        """Look once a second."""
        for _ in range(round(seconds)):
            self.clock.advance(1000)
            self.reporter.step()

    def sent(self) -> list[list[str]]:
        """The names in each report."""
        return [
            [
                Certificate.from_bytes(Envelope.decode(signed.certificate).payload).name
                for signed in request.statuses
            ]
            for request in self.reports
        ]

    def from_below(self, name: str) -> None:
        """A device of ``en`` hands in its first status."""
        device = a_member(self.en.node, name, Role.DEVICE)
        assert self.en.book.take(device.id, [device.signed(self.clock.now_ms())]) == []


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    clock = ManualClock(SystemClock().now_ms())
    root = a_root(tmp_path / "root", clock)
    a_child(root, tmp_path / "en", "/en", Role.INTERIOR)
    en = reopened(tmp_path / "en", clock)
    made = Tree(Level(root, clock, tmp_path / "root"), Level(en, clock, tmp_path / "en"), clock)
    yield made
    for level in (made.root, made.en):
        level.book.close()
        level.node.close()


def test_it_reports_at_once_then_on_change_and_every_half_minute(tree: Tree) -> None:
    tree.reporter.step()
    assert tree.sent() == [["en"]]
    tree.steps(29)
    assert len(tree.reports) == 1
    tree.steps(1)
    assert tree.sent() == [["en"], ["en"]]
    suspend(tree.en.node, a_member(tree.en.node, "device", Role.DEVICE).id)
    tree.steps(1)
    assert len(tree.reports) == 3
    assert tree.root.kept() == {"en"}


def test_what_comes_from_below_is_gathered_and_handed_up_once(tree: Tree) -> None:
    tree.reporter.step()
    for name in ("one", "two"):
        tree.from_below(name)
    tree.steps(GATHER_S)
    # Two new members changed en's own status at once; theirs came with it.
    assert sorted(name for names in tree.sent()[1:] for name in names if name != "en") == [
        "one", "two",
    ]  # fmt: skip
    assert tree.root.kept() == {"en", "one", "two"}
    tree.steps(60)
    assert sum(name == "one" for names in tree.sent() for name in names) == 1


def test_large_reports_are_divided_and_go_on_where_they_stopped(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.peers.statuses.reporter.BATCH_BYTES", 2500)
    for number in range(7):
        tree.from_below(f"device-{number}")
    taken = tree.report

    def breaks(request: ReportRequest) -> ReportReply:
        tree.fails = PeerError("link-down", "Nobody.") if len(tree.reports) >= 2 else None
        return taken(request)

    tree.reporter._report = breaks
    tree.reporter.step()
    assert len(tree.reports) == 3  # two got through, the third did not
    through = {name for names in tree.sent()[:2] for name in names}
    assert tree.root.kept() == through
    assert tree.en.codes["report"] == "link-down"
    tree.fails, tree.reporter._report = None, taken
    before = len(tree.reports)
    tree.steps(3)
    again = [name for names in tree.sent()[before:] for name in names]
    assert not (set(again) - {"en"}) & through
    assert tree.root.kept() == {"en", *(f"device-{number}" for number in range(7))}
    assert max(request.ByteSize() for request in tree.reports) < 3500
    assert "report" not in tree.en.codes


def test_pauses_grow_while_the_parent_is_away_and_end_with_it(tree: Tree) -> None:
    tree.fails = PeerError("link-down", "Nobody answers.")
    tree.reporter.step()
    tree.steps(300)
    assert 5 <= len(tree.reports) <= 12
    assert tree.en.codes == {"report": "link-down"}
    tree.fails = None
    tree.steps(60)
    assert tree.en.codes == {}
    assert tree.root.kept() == {"en"}


def test_a_parent_that_asks_for_time_gets_it(tree: Tree) -> None:
    tree.fails = PeerError("overloaded", "Later.", retry_ms=20_000)
    tree.reporter.step()
    tree.fails = None
    tree.steps(19)
    assert len(tree.reports) == 1
    tree.steps(2)
    assert len(tree.reports) == 2


def test_a_parent_that_lost_its_book_gets_everything_again(tree: Tree) -> None:
    tree.from_below("one")
    tree.reporter.step()
    care = a_member(tree.en.node, "care")
    clinic = care.below("clinic", now_ms=tree.clock.now_ms())
    statuses = [care.signed(tree.clock.now_ms()), clinic.signed(tree.clock.now_ms())]
    tree.en.book.take(care.id, statuses)
    tree.steps(3)
    assert tree.root.kept() == {"en", "one", "care", "clinic"}
    tree.root.book.close()
    (tree.root.folder / STATUSES_FILE).unlink()
    tree.root = Level(tree.root.node, tree.clock, tree.root.folder)
    tree.clock.advance(1000)
    assert tree.en.book.take(care.id, [clinic.signed(tree.clock.now_ms())]) == []
    tree.steps(ALL_AGAIN_S / 100)  # care says nothing anew, but clinic does
    assert tree.root.kept() == {"en", "one", "care", "clinic"}
    assert tree.root.codes == {}  # a parent that is not known yet is nobody's fault


def test_a_reporter_that_starts_anew_hands_in_everything_and_is_not_blamed(tree: Tree) -> None:
    tree.from_below("one")
    tree.reporter.step()
    tree.start()
    tree.reporter.step()
    assert tree.sent()[-1] == ["en", "one"]
    assert tree.root.codes == tree.en.codes == {}


def test_what_the_parent_refuses_of_the_node_itself_is_a_trouble(tree: Tree) -> None:
    tree.clock.set_to(tree.clock.now_ms() + 3_600_000)
    own = tree.en.own.current()
    tree.clock.set_to(tree.clock.now_ms() - 3_600_000)
    tree.reporter._send(own, tree.report)
    assert tree.en.codes == {"status": "clock-skew"}
    (key,) = tree.root.codes
    assert tree.root.codes[key] == "clock-skew"
    assert "en handed in a status of its own" in tree.root.troubles.standing[0].sentence


def test_a_confined_node_is_kept_by_its_parent_and_counted(tree: Tree) -> None:
    tree.en.confined = True
    tree.en.own = OwnStatus(tree.en.node, tree.en.book, confined=True)
    tree.start()
    tree.reporter.step()
    assert tree.root.kept() == {"en"}
    assert tree.root.book.newest(0) == []
    status = Status.from_bytes(Envelope.decode(tree.root.own.current().statement).payload)
    assert status.hidden == 1


def test_a_root_keeps_its_own_status_and_reports_to_nobody(tree: Tree) -> None:
    root = tree.root
    reporter = Reporter(root.node.home.id, root.own, root.book, None, tree.clock, root.troubles)
    reporter.step()
    assert [row.tier for row in root.book.file.rows()] == [0]


def test_a_node_answers_with_the_askers_nonce_and_a_device_takes_no_reports(tree: Tree) -> None:
    service = StatusService(tree.root.own, None, tree.root.troubles)
    caller = Caller(tree.en.node.home.id, Role.INTERIOR, "en", "127.0.0.1")
    signed = service.status(caller, StatusRequest(nonce=b"n" * 32)).status
    assert Status.from_bytes(Envelope.decode(signed.statement).payload).nonce == b"n" * 32
    for call, code in (
        (lambda: service.status(caller, StatusRequest(nonce=bytes(33))), "malformed"),
        (lambda: service.report(caller, ReportRequest()), "not-offered"),
    ):
        with pytest.raises(PeerError) as refused:
            call()
        assert refused.value.code == code
