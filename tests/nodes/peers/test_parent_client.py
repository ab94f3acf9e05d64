"""What a child asks its parent: certificates, its authority, and what is new."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodes.machine.troubles import read_troubles
from nodes.peers.parent_link import ParentLink
from nodes.peers.wire.errors import PeerError
from nodes.peers.wire.server import Listener, PeerServer
from nodes.trust.enrolment import resume, revoke, suspend
from nodes.trust.link_certificates import LINK_FILE, peer_name
from nodes.trust.tls import TlsFiles
from protocol import Code, LinkAuthority, Refused, SigningKey, peer_pb2, seal
from tests.nodes.peers.pair import Parent, circle_below, link_to, open_link, running, running_parent
from tests.nodes.peers.wire.pki import Authority


@pytest.fixture
def parent(tmp_path: Path, base: Path) -> Iterator[Parent]:
    with running_parent(tmp_path, base) as made:
        yield made


@pytest.fixture
def link(parent: Parent, tmp_path: Path, base: Path) -> Iterator[ParentLink]:
    _, made = link_to(parent, tmp_path / "clinic", base)
    yield made
    made.client.close()


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def folder_of(link: ParentLink) -> Path:
    return link.client.home.folder


def report(link: ParentLink) -> peer_pb2.ReportReply:
    reply: peer_pb2.ReportReply = link.client.peers.ask("Report", peer_pb2.ReportRequest())
    return reply


def test_a_child_gets_a_link_certificate_and_is_known_by_it(
    parent: Parent, link: ParentLink
) -> None:
    with pytest.raises(PeerError) as caught:
        report(link)
    assert caught.value.code == "no-address"
    assert link.client.renew()
    assert link.known.peers
    assert report(link).circle
    before = (folder_of(link) / LINK_FILE).read_bytes()
    assert link.client.renew()  # each answer has a fresh one
    assert (folder_of(link) / LINK_FILE).read_bytes() != before
    assert report(link).circle


@pytest.mark.parametrize(("act", "code"), [(suspend, "suspended"), (revoke, "revoked")])
def test_who_is_out_hears_why_at_the_door_and_on_an_open_connection(
    parent: Parent, link: ParentLink, act: Callable[..., None], code: str
) -> None:
    link.client.renew()
    report(link)
    child = link.client.home.id
    act(parent.root.node, child)
    for ask in (lambda: report(link), link.client.renew):
        with pytest.raises(PeerError) as caught:
            ask()
        assert caught.value.code == code
    if act is suspend:
        resume(parent.root.node, child)
        assert link.client.renew()
        assert report(link).circle


@pytest.mark.slow
def test_the_child_itself_says_that_it_is_suspended_and_goes_on_when_it_is_resumed(
    parent: Parent, link: ParentLink
) -> None:
    def trouble() -> list[str]:
        return [t.code for t in read_troubles(folder_of(link) / "troubles.json")]

    link.client.renew()
    child = link.client.home.id
    with running(link.client.run, link.client.attend):
        until(lambda: child in parent.circle.attendance.present)
        suspend(parent.root.node, child)
        parent.circle.look()  # what the daemon does every few seconds
        until(lambda: trouble() == ["suspended"])
        resume(parent.root.node, child)
        until(lambda: trouble() == [], seconds=40)


def test_readiness_goes_up_and_news_come_down(parent: Parent, link: ParentLink) -> None:
    link.client.renew()
    heard: list[int] = []
    link.on_notice = lambda said: heard.append(said.circle)
    with running(link.client.attend):
        until(lambda: heard)
        link.client.announce()
        until(lambda: parent.ready == [link.client.home.id])
        first = heard[-1]
        parent.circle.keeper.heard(link.client.home.id, ["127.0.0.1:7"], 0)
        parent.circle.keeper.dialled(link.client.home.id, ["127.0.0.1:7"], 1)
        parent.circle.look()
        until(lambda: heard[-1] > first)


@pytest.mark.slow
def test_the_parents_restart_is_survived(parent: Parent, link: ParentLink) -> None:
    link.client.renew()
    with running(link.client.attend):
        until(lambda: parent.circle.attendance.present)
        parent.circle.stop()
        again = circle_below(parent.root)
        again.start()
        try:
            until(lambda: again.attendance.present)
        finally:
            again.stop()


def test_another_authority_is_learned_by_the_parents_signature(
    parent: Parent, link: ParentLink
) -> None:
    files = TlsFiles.in_folder(parent.root.home.folder / "tls")
    parent.circle.stop()
    files.ca.unlink()
    files.ca_key.write_bytes(Authority().member("x").key or b"")  # another key, as after a loss
    again = circle_below(parent.root)
    again.start()
    try:
        assert link.client.renew()
        assert link.client.home.parent_ca == files.ca.read_bytes()
        assert report(link).circle
    finally:
        again.stop()


def test_an_authority_that_the_parent_did_not_sign_is_refused(
    parent: Parent, tmp_path: Path, base: Path
) -> None:
    folder, honest = link_to(parent, tmp_path / "clinic", base)
    before = honest.client.home.parent_ca
    thief, stranger = SigningKey.generate(), Authority()
    tls = stranger.server(peer_name(parent.root.home.id), mutual=False)

    def lie(_: object, request: peer_pb2.AuthorityRequest) -> peer_pb2.AuthorityReply:
        home = parent.root.home
        statement = LinkAuthority(
            network=home.network.network,
            node=home.id,
            nonce=request.nonce,
            authority=stranger.pem,
            issued_ms=1,
        )
        return peer_pb2.AuthorityReply(authority=seal(statement, thief).encode())

    server = PeerServer(
        [Listener("Enrolment", {"Authority": lie}, "127.0.0.1", 0, lambda: tls, None)],
        now_ms=lambda: 0,
    )
    server.start()
    try:
        link = open_link(parent, folder, doors=[f"127.0.0.1:{server.ports[0]}"])
        with pytest.raises(Refused) as caught:
            link.client.learn_authority()
        assert caught.value.code is Code.BAD_SIGNATURE
        link.client.close()
    finally:
        server.stop()
    assert honest.client.home.parent_ca == before
