"""Two levels with real listeners between them: a device, its parent, and the root."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from nodes.dashboard.tree import read_tree
from nodes.machine.clock import SystemClock
from nodes.machine.troubles import Troubles
from nodes.peers.statuses.book import StatusBook
from nodes.peers.statuses.own import OwnStatus
from nodes.peers.statuses.reporter import Reporter
from nodes.peers.statuses.rows import StatusFile
from nodes.peers.statuses.service import StatusService
from nodes.peers.wire.caller import Caller
from nodes.peers.wire.client import PeerChannel
from nodes.peers.wire.errors import PeerError
from nodes.peers.wire.server import Listener, PeerServer
from nodes.state.node import Node
from nodes.trust.enrolment import suspend
from protocol import Role
from protocol.peer_pb2 import ReportReply, ReportRequest
from tests.nodes.peers.statuses.world import a_child, a_root, reopened
from tests.nodes.peers.wire.pki import Authority

WAIT_S = 60.0


class Running:
    """One node: its book and its service, and what it needs of its parent's listener."""

    def __init__(self, node: Node, stack: ExitStack) -> None:
        folder = node.home.folder
        self.node, self.book = node, StatusBook(node, StatusFile(folder))
        stack.callback(node.close)
        stack.callback(self.book.close)
        self.way = ""
        self.troubles = Troubles(folder / "troubles.json", node.clock)
        self.own = OwnStatus(node, self.book, way=lambda: self.way)
        self.replies: list[ReportReply] = []

    def reports_to(self, channel: PeerChannel | None, stack: ExitStack) -> Reporter:
        def report(request: ReportRequest) -> ReportReply:
            assert channel
            reply: ReportReply = channel.ask("Report", request)
            return reply

        reporter = Reporter(
            self.node.home.id,
            self.own,
            self.book,
            report if channel else None,
            self.node.clock,
            self.troubles,
            about=lambda: ReportRequest(addresses=["10.0.0.9:9942"], circle=3),
            on_reply=self.replies.append,
        )
        stop = threading.Event()
        thread = threading.Thread(target=reporter.run, args=(stop,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        return reporter


@contextmanager
def link(parent: Running, child: Running) -> Iterator[PeerChannel]:
    """A listener of the parent, and the child's channel to it."""
    authority, home = Authority(), child.node.home

    def fill(caller: Caller, request: ReportRequest) -> ReportReply:
        assert (caller.member, request.circle) == (home.id, 3)
        return ReportReply(peers=list(request.addresses))

    service = StatusService(parent.own, parent.book, parent.troubles, fill)
    shown = authority.server("parent.peer")
    caller = Caller(home.id, home.certificate.role, home.certificate.name, "127.0.0.1")
    handlers: dict[str, Callable[..., Any]] = {"Status": service.status, "Report": service.report}
    server = PeerServer(
        [Listener("Peer", handlers, "127.0.0.1", 0, lambda: shown, lambda _, __: caller)],
        now_ms=SystemClock().now_ms,
    )
    server.start()
    credentials = authority.member("child.peer")
    address = f"127.0.0.1:{server.ports[0]}"
    channel = PeerChannel(
        lambda: [address],
        lambda: credentials,
        "parent.peer",
        on_connected=lambda at: setattr(child, "way", at),
    )
    try:
        yield channel
    finally:
        channel.close()
        server.stop()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_devices_status_reaches_the_root_through_its_parent(tmp_path: Path) -> None:
    clock = SystemClock()
    with ExitStack() as stack:
        root = Running(a_root(tmp_path / "root", clock), stack)
        a_child(root.node, tmp_path / "en", "/en", Role.INTERIOR)
        en = Running(reopened(tmp_path / "en", clock), stack)
        a_child(en.node, tmp_path / "clinic", "/en", Role.DEVICE)
        clinic = Running(reopened(tmp_path / "clinic", clock), stack)
        above, below = (stack.enter_context(link(*pair)) for pair in ((root, en), (en, clinic)))
        for running, channel in ((clinic, below), (en, above), (root, None)):
            running.reports_to(channel, stack)

        def seen_way() -> str:
            for language in read_tree(root.node.home.folder, clock).top.children:
                for device in language.children:
                    return device.status.way if device.status else ""
            return ""

        until(lambda: seen_way() == clinic.way != "")
        (language,) = read_tree(root.node.home.folder, clock).top.children
        (device,) = language.children
        assert (language.label, device.label, device.via) == ("/en", "clinic", ("en",))
        assert list(clinic.replies[0].peers) == ["10.0.0.9:9942"]
        assert 0 < clinic.replies[0].again_ms <= 30_000

        # A person suspends the device: its parent says so upward, and the device hears why.
        suspend(en.node, clinic.node.home.id)
        with pytest.raises(PeerError) as refused:
            below.ask("Report", ReportRequest(statuses=[clinic.own.current()], circle=3))
        assert refused.value.code == "suspended"

        def seen_as() -> str:
            (language,) = read_tree(root.node.home.folder, clock).top.children
            return language.children[0].state

        until(lambda: seen_as() == "suspended")
        assert root.troubles.standing == ()
