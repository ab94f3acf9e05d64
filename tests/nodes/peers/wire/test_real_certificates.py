"""The certificates that nodes make open the channels between them, within one circle."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from nodes.machine.clock import SystemClock
from nodes.peers.wire.caller import Caller
from nodes.peers.wire.client import Credentials
from nodes.peers.wire.errors import PeerError
from nodes.peers.wire.server import ServerTls
from nodes.state.home import Home, open_home
from nodes.state.node import Node
from nodes.trust.enrolment import enrol_folder
from nodes.trust.link_certificates import LINK_FILE, issue_link, peer_name
from nodes.trust.renewal import answer_renewal, ask_renewal, install_renewed
from nodes.trust.tls import authority_pem, make_tls
from protocol import Digest, Role, Scope
from tests.nodes.network import make_root
from tests.nodes.peers.wire.test_wire import QUESTION, asking, everybody, locate, serving


@pytest.fixture
def root(tmp_path: Path, base: Path) -> Iterator[Node]:
    folder = make_root(tmp_path / "root", base)
    clock = SystemClock()
    with closing(Node(open_home(folder, clock.now_ms()), clock)) as node:
        yield node


def joined(root: Node, folder: Path) -> Home:
    """Enrol a device, and let it ask for its link certificate."""
    home = enrol_folder(root, folder, folder.name, Scope(), Role.DEVICE, ["127.0.0.1:1"])
    got = answer_renewal(root, ask_renewal(home, root.clock.now_ms()))
    install_renewed(home, got.path, got.link, got.authority, root.clock.now_ms())
    return home


def credentials(home: Home) -> Credentials:
    link = (home.folder / LINK_FILE).read_bytes()
    return Credentials(home.parent_ca, link, home.transport_pem)


def of_parent(root: Node) -> ServerTls:
    folder, key = root.home.folder / "tls", root.home.key
    files = make_tls(folder, identity=key)
    trusted = authority_pem(folder, key)
    return ServerTls(files.certificate.read_bytes(), files.key.read_bytes(), trusted)


def of_child(home: Home) -> ServerTls:
    made = credentials(home)
    assert made.certificate and made.key
    return ServerTls(made.certificate, made.key, home.parent_ca)


def _same(tls: ServerTls) -> ServerTls:
    return tls


def test_a_child_calls_its_parent_and_a_sibling(root: Node, tmp_path: Path) -> None:
    one, two = joined(root, tmp_path / "one"), joined(root, tmp_path / "two")
    keys: list[Digest] = []

    def identify(key: Digest, address: str) -> Caller:
        keys.append(key)
        return everybody(key, address)

    listeners = {root.home.id: of_parent(root), two.id: of_child(two)}
    for node, tls in listeners.items():
        with (
            serving({"Locate": locate}, partial(_same, tls), identify=identify) as address,
            asking(address, credentials(one), peer_name(node)) as channel,
        ):
            channel.ask("Locate", QUESTION)
    member = root.state.membership.get(one.id)
    assert member is not None
    assert set(keys) == {member.transport}


def test_a_parent_calls_its_child(root: Node, tmp_path: Path) -> None:
    one, parent = joined(root, tmp_path / "one"), of_parent(root)
    own = Credentials(one.parent_ca, parent.certificate, parent.key)
    tls = of_child(one)
    with (
        serving({"Locate": locate}, lambda: tls) as address,
        asking(address, own, peer_name(one.id)) as channel,
    ):
        channel.ask("Locate", QUESTION)


@pytest.mark.parametrize("wrong", ["ended", "another node's name"])
def test_a_link_certificate_that_ended_or_another_name_opens_nothing(
    root: Node, tmp_path: Path, wrong: str
) -> None:
    one, tls = joined(root, tmp_path / "one"), of_parent(root)
    shown, name = credentials(one), peer_name(root.home.id)
    if wrong == "ended":
        long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=8)
        old = issue_link(root.home.folder / "tls", root.home.key, one.certificate, long_ago)
        shown = Credentials(one.parent_ca, old, one.transport_pem)
    else:
        name = peer_name(one.id)
    with (
        serving({"Locate": locate}, lambda: tls) as address,
        asking(address, shown, name) as channel,
        pytest.raises(PeerError),
    ):
        channel.ask("Locate", QUESTION, timeout_s=5)
