"""A device joins a running parent over gRPC on loopback: from the token to the base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from nodes.config.files import load_config
from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.peers.artefacts.base import is_whole
from nodes.peers.circle.book import BOOK_FILE
from nodes.peers.joining.desk import invite
from nodes.peers.joining.found_parent import find_parent
from nodes.peers.joining.invitations import Invitations
from nodes.peers.joining.join import Joined, Wishes, join_with_token
from nodes.peers.joining.means import means
from nodes.peers.joining.token import JoinToken
from nodes.peers.wire.errors import PeerError
from nodes.state.home import Home
from nodes.trust.link_certificates import LINK_FILE
from protocol import Digest, Role, Scope
from tests.nodes.network import Peer, make_root, peer
from tests.nodes.peers.joining.test_desk import is_refused
from tests.nodes.peers.pair import circle_below
from tests.ports import free_port


@dataclass
class Served:
    """A root whose peer service runs in this process."""

    root: Peer
    door: str
    refused: list[str]

    def invite(self, **more: Any) -> JoinToken:
        with Invitations(self.root.home.folder) as invitations:  # as a command beside it
            return invite(
                self.root.node,
                invitations,
                scope=Scope(),
                role=Role.DEVICE,
                addresses=(self.door,),
                **more,
            )[1]


@dataclass
class Told:
    """What a person is told."""

    steps: list[str] = field(default_factory=list)
    arrived: dict[str, tuple[int, int]] = field(default_factory=dict)

    def step(self, sentence: str) -> None:
        self.steps.append(sentence)

    def waits(self) -> None:
        self.steps.append("waits")

    def arrives(self, what: str, done: int, total: int) -> None:
        self.arrived[what] = done, total


@pytest.fixture
def served(tmp_path: Path, base: Path) -> Iterator[Served]:
    with ExitStack() as stack:
        root = peer(make_root(tmp_path / "root", base, port=free_port()))
        stack.callback(root.close)
        refused = list[str]()
        circle = circle_below(root, on_refused=lambda code, _: refused.append(code))
        circle.start()
        stack.callback(circle.stop)
        yield Served(root, circle.whereabouts().doors[0], refused)


def join(folder: Path, token: JoinToken, told: Told | None = None) -> Joined:
    clock = SystemClock()
    return join_with_token(folder, token, Wishes(), means(clock), clock, told or Told())


@pytest.mark.slow
def test_a_device_joins_over_grpc(served: Served, tmp_path: Path, base: Path) -> None:
    token, told = served.invite(name="clinic"), Told()
    joined = join(tmp_path / "clinic", JoinToken.decode(token.encode()), told)
    home: Home = joined.home
    assert (home.certificate.name, home.scope) == ("clinic", Scope())
    assert is_whole(home.folder / "base", home.network)
    assert (home.folder / LINK_FILE).exists()
    assert (home.folder / BOOK_FILE).exists()
    assert load_config(joined.config).model.base == home.folder / "base"
    done, total = told.arrived["the base"]
    assert done == total > 0
    assert told.arrived["the coordinates"][0] == home.basis_file.stat().st_size
    assert served.root.node.state.membership.active == (home.id,)

    is_refused("token-used", lambda: join(tmp_path / "thief", token))
    assert not (tmp_path / "thief").exists()
    assert served.refused == ["token-used"]
    assert join(tmp_path / "clinic", token).home.id == home.id  # and changes nothing


def test_a_token_leads_to_no_other_parent(served: Served, tmp_path: Path) -> None:
    token = served.invite()
    is_refused("wrong-parent", lambda: find_parent(replace(token, authority=Digest("00" * 32))))
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(PeerError, match=r"^link-down: "):
        find_parent(replace(token, addresses=(nobody,)))
    both = replace(token, addresses=(nobody, served.door))
    with closing(find_parent(both)) as found:
        assert found.parent == served.root.home.id


def test_a_wrong_secret_is_refused_by_its_code(served: Served, tmp_path: Path) -> None:
    token = replace(served.invite(), secret=bytes(16))
    with pytest.raises(NodeError, match=r"^wrong-token: ") as refused:
        join(tmp_path / "clinic", token)
    assert isinstance(refused.value, PeerError)
    assert served.root.node.state.membership.active == ()
