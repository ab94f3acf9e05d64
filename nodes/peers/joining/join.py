"""Become a member with a token: the new node's side, from its keys to its ``node.toml``.

Each step leaves what it made in the folder, and begins with what is there already: interrupted
anywhere, also by ``kill -9``, the same call goes on. ``joining.json`` says for which token the
folder was begun; the token's secret is not in it.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from nodes.config.files import write_config
from nodes.config.reach import PARENT_FILE, ParentAddresses
from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.machine.files import write_file
from nodes.peers.joining.answer import Accepted, read_answer
from nodes.peers.joining.desk import mac_of
from nodes.peers.joining.token import JoinToken
from nodes.peers.wire.client import Credentials
from nodes.peers.wire.errors import PeerError
from nodes.state.home import Home, open_home, write_home
from nodes.trust.enrolment import MembershipRequest, read_request, write_request
from nodes.trust.link_certificates import LINK_FILE, install_link
from nodes.trust.network import make_keys
from nodes.trust.tls import make_tls
from protocol import Digest, NodeId, ProtocolError, SigningKey, check_label, digest_of, peer_pb2

BEGUN_FILE = "joining.json"
LEAST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""Between two questions; the parent says how long."""
MOST_TRIES = 20
"""Of asking a parent that is busy, or has just been started."""
REACH_TRIES, REACH_EVERY_S = 15, 2.0

_ARRIVING = "basis.arriving"

OnProgress = Callable[[int, int], None]
"""Told of the bytes that are here and of all."""


@dataclass(frozen=True)
class Way:
    """How a new member reaches its parent's service Peer.

    Attributes:
        peers: where it is, each ``host:port``.
    """

    parent: NodeId
    peers: tuple[str, ...]
    credentials: Credentials


class Desk(Protocol):
    """The parent's service Enrolment, reached and recognised."""

    @property
    def parent(self) -> NodeId:
        """The parent's id, which its certificate must confirm."""
        ...

    def ask(self, method: str, request: peer_pb2.EnrolRequest) -> peer_pb2.EnrolReply:
        """Ask ``Enrol`` or ``EnrolStatus``. Raises ``NodeError``, ``PeerError``."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


Fetch = Callable[[Way, Digest, Path, OnProgress], None]
"""Fetches an artefact into a file, by its digest."""
FetchBase = Callable[[Way, Home, Path, OnProgress], None]
"""Fetches the network's base into a folder; does nothing if it is there, else goes on."""


@dataclass(frozen=True)
class Means:
    """How the parent is reached, and things come from it."""

    open_desk: Callable[[JoinToken], Desk]
    fetch: Fetch
    fetch_base: FetchBase


@dataclass(frozen=True)
class Wishes:
    """What the person at the new node wants.

    Attributes:
        name: the node's name; empty for that in the token, else the folder's.
        base: where the network's base is on this machine; None to fetch it from the parent.
        host, port, names: where the node listens, and under which names children reach it.
        settings: further values of ``node.toml``, section by section.
    """

    name: str = ""
    base: Path | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    names: Sequence[str] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Watcher(Protocol):
    """Is told how far the joining is, for a person."""

    def step(self, sentence: str) -> None:
        """Something was done, or begins."""
        ...

    def waits(self) -> None:
        """The parent waits for a person; told once."""
        ...

    def arrives(self, what: str, done: int, total: int) -> None:
        """So many bytes of something are here."""
        ...


@dataclass(frozen=True)
class Joined:
    """What came of it."""

    home: Home
    config: Path


def join_with_token(
    folder: Path,
    token: JoinToken,
    wishes: Wishes,
    means: Means,
    clock: Clock,
    watcher: Watcher,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Joined:
    """Become a member in ``folder``, or go on becoming one.

    Raises ``NodeError``: ``exists`` for a folder with another node, ``bad-answer``, ``bad-link``,
    what the parent refuses (see ``EnrolmentDesk``), what ``means`` raise; ``Refused`` for a name
    that no certificate may hold and for certificates that do not hold.
    """
    is_new = not folder.exists()
    request = prepare(folder, token, wishes.name)
    if not all((folder / name).exists() for name in ("network.env", PARENT_FILE)):
        try:
            accepted = _ask(folder, token, request, means.open_desk, clock, watcher, pause)
        except PeerError as error:
            if is_new and not error.is_down and error.retry_ms is None:
                shutil.rmtree(folder, ignore_errors=True)  # refused for good: nothing to go on with
            raise
        watcher.step(f"Accepted as {accepted.certificate.name} by {accepted.parent.name}.")
        _install(folder, accepted, means.fetch, clock, watcher)
    home = open_home(folder, clock.now_ms())
    config = _configure(home, wishes)
    if wishes.base is None:
        base = folder / "base"
        means.fetch_base(
            way_to_parent(home),
            home,
            base,
            lambda done, total: watcher.arrives("the base", done, total),
        )
        watcher.step(f"The base is in {base}.")
    return Joined(home, config)


def way_to_parent(home: Home) -> Way:
    """Return how a member reaches its parent's service Peer, from what is in its folder."""
    parent = home.parent
    assert parent is not None  # noqa: S101  nobody joins as a root
    link = (home.folder / LINK_FILE).read_bytes()
    return Way(
        parent.node,
        ParentAddresses(home, ()).peers,
        Credentials(home.parent_ca, link, home.transport_pem),
    )


# -- keys and the request -----------------------------------------------------------------------


def prepare(folder: Path, token: JoinToken, name: str) -> bytes:
    """Make the new node's keys and its request, or return the request that is there.

    A folder that was begun with another token, and is no member yet, goes on with this one.

    Raises ``NodeError`` ``exists`` for a folder that holds another node, ``Refused`` ``malformed``
    for a name that no certificate may hold.
    """
    begun = _begun_with(folder)
    has_keys, is_member = (folder / "identity.pem").exists(), (folder / "network.env").exists()
    if (has_keys and begun is None) or (is_member and begun != token.id):
        raise NodeError("exists", f"There is a node in {folder} already; choose another folder.")
    earlier = _earlier_request(folder)
    if is_member and earlier is not None:
        return earlier[0]
    if earlier is not None and not name and not token.name:
        name = earlier[1].name
    name = check_label(name or token.name or folder.resolve().name)
    _make_folder(folder)
    if begun != token.id:
        write_file(folder / BEGUN_FILE, json.dumps({"token": token.id.hex()}).encode())
    if not has_keys:
        make_keys(folder)
    if earlier is not None:
        asked = earlier[1]
        if (asked.name, asked.scope, asked.role) == (name, token.scope, token.role):
            return earlier[0]
    return write_request(folder, name, token.scope, token.role)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NodeError("exists", f"{folder} is a file; choose another name.") from None


def _begun_with(folder: Path) -> bytes | None:
    """Return the id of the token with which a folder was begun."""
    try:
        return bytes.fromhex(json.loads((folder / BEGUN_FILE).read_text("utf-8"))["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _earlier_request(folder: Path) -> tuple[bytes, MembershipRequest] | None:
    """Return the request in a folder, if it is whole and of the keys there."""
    try:
        request = (folder / "request.json").read_bytes()
        asked = read_request(request)
        key = SigningKey.load(folder / "identity.pem")
    except (OSError, NodeError, ProtocolError):
        return None
    return (request, asked) if asked.key.raw == key.public.raw else None


# -- the answer ---------------------------------------------------------------------------------


def _ask(
    folder: Path,
    token: JoinToken,
    request: bytes,
    open_desk: Callable[[JoinToken], Desk],
    clock: Clock,
    watcher: Watcher,
    pause: Callable[[float], None],
) -> Accepted:
    """Ask the parent until a person has decided, if one has to; return its verified answer."""
    desk = _reach(token, open_desk, watcher, pause)
    try:
        watcher.step("Found the parent that made the token.")
        mac = mac_of(token.secret, token.id, request)
        question = peer_pb2.EnrolRequest(token=token.id, request=request, mac=mac)
        reply = _enrol(desk, question, pause)
        if reply.waiting:
            watcher.waits()
        while reply.waiting:
            pause(_seconds(reply.retry_ms))
            reply = _status(desk, question, reply)
        return read_answer(reply, folder, token, desk.parent, clock.now_ms())
    finally:
        desk.close()


def _reach(
    token: JoinToken,
    open_desk: Callable[[JoinToken], Desk],
    watcher: Watcher,
    pause: Callable[[float], None],
) -> Desk:
    """Find the parent; one that does not answer may have been started a moment ago."""
    for tried in range(REACH_TRIES - 1):
        try:
            return open_desk(token)
        except PeerError as error:
            if not error.is_down:
                raise
            if tried == 0:
                watcher.step("The parent does not answer yet. It is tried for half a minute.")
            pause(REACH_EVERY_S)
    return open_desk(token)


def _enrol(
    desk: Desk, question: peer_pb2.EnrolRequest, pause: Callable[[float], None]
) -> peer_pb2.EnrolReply:
    """Ask to be enrolled; a parent that names a time to come back is asked again then."""
    for _ in range(MOST_TRIES - 1):
        try:
            return desk.ask("Enrol", question)
        except PeerError as error:
            if error.retry_ms is None:
                raise
            pause(_seconds(error.retry_ms))
    return desk.ask("Enrol", question)


def _seconds(retry_ms: int) -> float:
    return min(max(retry_ms / 1000, LEAST_WAIT_S), LONGEST_WAIT_S)


def _status(
    desk: Desk, question: peer_pb2.EnrolRequest, before: peer_pb2.EnrolReply
) -> peer_pb2.EnrolReply:
    """Ask what became of the request; a parent that does not answer may be starting anew."""
    try:
        return desk.ask("EnrolStatus", question)
    except PeerError as error:
        if error.is_down or error.retry_ms is not None:
            return before
        raise


def _install(
    folder: Path, accepted: Accepted, fetch: Fetch, clock: Clock, watcher: Watcher
) -> None:
    """Write the membership, with the basis that comes from the parent.

    ``network.env`` makes it a member; the parent's addresses, written last, say that all is there.
    """
    _write_path(folder, accepted.envelopes)
    install_link(folder, accepted.link, accepted.authority)
    key = (folder / "transport.pem").read_bytes()
    credentials = Credentials(accepted.authority, accepted.link, key)
    way = Way(accepted.parent.node, accepted.peers, credentials)
    basis = _fetch_basis(folder, way, accepted.network.basis, fetch, watcher)
    write_home(
        folder,
        network_envelope=accepted.network_envelope,
        path_envelopes=accepted.envelopes,
        layout=accepted.layout,
        basis=basis,
        parent_ca=accepted.authority,
    )
    (folder / _ARRIVING).unlink(missing_ok=True)
    home = open_home(folder, clock.now_ms())
    if not home.is_device:
        make_tls(folder / "tls", identity=home.key)
    ParentAddresses(home, ()).tell(accepted.addresses, accepted.peers, accepted.doors)


def _write_path(folder: Path, envelopes: Sequence[bytes]) -> None:
    """Write the certificates, and none that an earlier token brought."""
    path = folder / "path"
    path.mkdir(exist_ok=True)
    for stale in sorted(path.glob("*.env"))[len(envelopes) :]:
        stale.unlink()
    for place, envelope in enumerate(envelopes):
        write_file(path / f"{place:02}.env", envelope)


def _fetch_basis(folder: Path, way: Way, basis: Digest, fetch: Fetch, watcher: Watcher) -> bytes:
    """Fetch the fixed matrices A; return the file."""
    for place in (folder / "basis.safetensors", folder / _ARRIVING):
        if place.exists() and digest_of(data := place.read_bytes()) == basis:
            return data
    place = folder / _ARRIVING
    fetch(way, basis, place, lambda done, total: watcher.arrives("the coordinates", done, total))
    data = place.read_bytes()
    if digest_of(data) != basis:
        place.unlink()
        raise NodeError("bad-answer", "The coordinates that arrived are not the network's.")
    return data


def _configure(home: Home, wishes: Wishes) -> Path:
    """Write ``node.toml``, unless there is one: a person may have changed it."""
    config = home.folder / "node.toml"
    if config.exists():
        return config
    return write_config(
        home,
        base=wishes.base.resolve() if wishes.base else None,
        uplink=ParentAddresses(home, ()).in_turn,
        host=wishes.host,
        port=wishes.port,
        names=wishes.names,
        settings=wishes.settings,
    )
