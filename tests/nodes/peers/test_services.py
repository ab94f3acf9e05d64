"""What a parent gives its children beside tasks, and what a child believes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from nodes.errors import NodeError
from nodes.flower.errors import LinkDown, Refusal
from nodes.machine.clock import ManualClock, SystemClock
from nodes.model.digest import describe_base
from nodes.peers.artefacts.manifest import Manifest
from nodes.peers.base_transfer import fetch_base, is_whole
from nodes.peers.parent_client import ParentClient
from nodes.peers.services import ParentServices
from nodes.state.event_codec import events_of
from nodes.state.events import MemberEnrolled, MemberRenewed
from nodes.state.home import open_home
from nodes.state.node import Node
from nodes.trust.enrolment import revoke
from nodes.trust.network import MEMBERSHIP_MS
from nodes.trust.renewal import renew_root
from nodes.trust.tls import make_tls
from protocol import Code, Refused
from tests.nodes.network import Peer, add_child, make_root, peer

CHILD = 7


class Pair:
    """A root, a device, and a link between them that can be cut."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.clock = ManualClock(SystemClock().now_ms())
        self.root: Peer = peer(make_root(folder / "root", base), self.clock)
        self.device_folder = add_child(self.root.home.folder, folder / "device", base)
        self.root.node.catch_up()
        self.device = open_home(self.device_folder, self.clock.now_ms())
        self.verified = True
        self.addresses = ["10.0.0.1:9941"]
        self.told: list[object] = []
        self.ready: list[object] = []
        self.services = ParentServices(
            self.root.node,
            base=base,
            addresses=lambda: self.addresses,
            child_of=lambda number: self.device.id if number == CHILD else None,
            on_ready=self.ready.append,
        )

    def call(self, service: str, body: bytes) -> bytes:
        if not self.verified:
            raise LinkDown("certificate verify failed")
        return self.services.signed[service](CHILD, body)

    def call_unverified(self, service: str, body: bytes) -> bytes:
        return self.services.unsigned[service](0, body)

    def client(self, unverified: Callable[[str, bytes], bytes] | None = None) -> ParentClient:
        def told(authority: bytes) -> None:
            self.verified = True
            self.told.append(authority)

        return ParentClient(
            self.device,
            self.clock,
            self.call,
            unverified or self.call_unverified,
            on_authority=told,
            on_addresses=self.told.append,
        )


def _always(answer: bytes, _service: str, _body: bytes) -> bytes:
    return answer


@pytest.fixture
def pair(tmp_path: Path, base: Path) -> Iterator[Pair]:
    made = Pair(tmp_path, base)
    yield made
    made.root.close()


def test_a_membership_is_renewed_at_half_of_its_life_and_not_before(pair: Pair) -> None:
    assert not pair.client().refresh()
    pair.clock.advance(MEMBERSHIP_MS // 2 + 60_000)
    assert renew_root(pair.root.home, pair.clock.now_ms())
    assert not renew_root(pair.root.home, pair.clock.now_ms())  # once, also while it runs
    assert pair.client().refresh()
    assert not pair.client().refresh()
    pair.clock.advance(MEMBERSHIP_MS * 3 // 4)  # beyond what the first certificates were good for
    home = open_home(pair.device_folder, pair.clock.now_ms())
    assert home.certificate.public_key == pair.device.certificate.public_key
    assert len(list(events_of(pair.root.node.ledger, MemberRenewed))) == 1


def test_a_lapsed_membership_can_be_renewed_and_a_revoked_one_cannot(pair: Pair) -> None:
    pair.clock.advance(MEMBERSHIP_MS + 3_600_000)
    renew_root(pair.root.home, pair.clock.now_ms())
    with pytest.raises(Refused) as lapsed:
        open_home(pair.device_folder, pair.clock.now_ms())
    assert lapsed.value.code is Code.CERTIFICATE_EXPIRED
    pair.device = open_home(pair.device_folder, None)
    pair.client().refresh()
    open_home(pair.device_folder, pair.clock.now_ms())

    revoke(pair.root.node, pair.device.id)
    with pytest.raises(Refusal) as refused:
        pair.client().refresh()
    assert refused.value.code == "revoked"


def test_a_renewal_pardons_nothing(pair: Pair) -> None:
    node = pair.root.node
    node.state.rounds.offences[pair.device.id] = 5
    pair.clock.advance(MEMBERSHIP_MS // 2 + 60_000)
    renew_root(pair.root.home, pair.clock.now_ms())
    pair.client().refresh()
    assert node.state.rounds.is_quarantined(pair.device.id)
    assert len(list(events_of(node.ledger, MemberEnrolled))) == 1


def test_admission_knows_the_renewed_certificate_also_after_a_restart(pair: Pair) -> None:
    pair.clock.advance(MEMBERSHIP_MS // 2 + 60_000)
    renew_root(pair.root.home, pair.clock.now_ms())
    pair.client().refresh()
    again = Node(open_home(pair.root.home.folder, pair.clock.now_ms()), pair.clock)
    for node in (pair.root.node, again):
        known = node.certificate_of(pair.device.id)
        assert known is not None
        assert known.valid_until_ms > pair.clock.now_ms() + MEMBERSHIP_MS // 2
    again.close()


def test_another_authority_is_learned_by_the_parents_signature(pair: Pair) -> None:
    (pair.root.home.folder / "tls" / "ca.pem").unlink()
    authority = make_tls(pair.root.home.folder / "tls").ca.read_bytes()
    pair.verified = False
    assert pair.client().refresh()
    assert pair.device.parent_ca == authority
    assert authority in pair.told


def test_an_authority_that_the_parent_did_not_sign_or_signed_before_is_refused(pair: Pair) -> None:
    before = pair.device.parent_ca
    make_tls(pair.root.home.folder / "tls")
    pair.verified = False
    said = pair.call_unverified("authority", bytes(32))
    forged = bytearray(said)
    forged[-1] ^= 1
    for answer in (said, bytes(forged)):
        client = pair.client(partial(_always, answer))
        with pytest.raises((Refused, NodeError)):
            client.refresh()
    assert pair.device.parent_ca == before


def test_addresses_and_readiness_travel(pair: Pair) -> None:
    pair.addresses = ["10.0.0.2:9941", "[fd00::2]:9941"]
    pair.client().refresh()
    assert tuple(pair.addresses) in pair.told
    pair.client().ready()
    assert pair.ready == [pair.device.id]


def test_a_stranger_gets_nothing(pair: Pair) -> None:
    for name in ("membership", "ready"):
        with pytest.raises(Refusal) as refused:
            pair.services.signed[name](8, b"")
        assert refused.value.code == "not-a-member"


# -- the base


def test_a_base_is_fetched_whole_and_once(pair: Pair, base: Path, tmp_path: Path) -> None:
    network, target = pair.device.network, tmp_path / "got"
    steps: list[tuple[int, int]] = []
    fetch_base(
        pair.call,
        target,
        network,
        stop=threading.Event(),
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert is_whole(target, network)
    assert describe_base(target).digest == describe_base(base).digest
    assert steps[-1][0] == steps[-1][1] > 0
    pair.verified = False  # it would have to ask
    fetch_base(pair.call, target, network, stop=threading.Event())


def test_an_interrupted_transfer_goes_on_where_it_stopped(
    pair: Pair, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.peers.base_transfer.PART_BYTES", 4096)
    parts: list[int] = []
    total = Manifest.of_folder(base).total

    def cut(service: str, body: bytes) -> bytes:
        if service == "base-part":
            if sum(parts) > total // 2 and len(parts) < 10**6:
                raise LinkDown("cut")
            answer = pair.call(service, body)
            parts.append(len(answer))
            return answer
        return pair.call(service, body)

    def on(service: str, body: bytes) -> bytes:
        answer = pair.call(service, body)
        if service == "base-part":
            parts.append(len(answer))
        return answer

    target = tmp_path / "got"
    with pytest.raises(LinkDown):
        fetch_base(cut, target, pair.device.network, stop=threading.Event())
    assert not target.exists()
    fetch_base(on, target, pair.device.network, stop=threading.Event())
    assert sum(parts) == total  # no byte twice
    assert is_whole(target, pair.device.network)


@pytest.mark.parametrize("what", ["other bytes", "another base", "a path"])
def test_a_sender_that_lies_leaves_no_base(
    pair: Pair, base: Path, tmp_path: Path, what: str
) -> None:
    def lie(service: str, body: bytes) -> bytes:
        answer = pair.call(service, body)
        if service == "base" and what == "a path":
            listed = json.loads(answer)
            listed[0]["name"] = "../evil.json"
            return json.dumps(listed).encode()
        if service == "base" and what == "another base":
            import hashlib

            listed = json.loads(answer)
            for entry in listed:
                data = bytes(entry["length"])
                entry["sha256"] = hashlib.sha256(data).hexdigest()
            return json.dumps(listed).encode()
        return bytes(len(answer)) if service == "base-part" else answer

    target = tmp_path / "in" / "got"
    with pytest.raises(NodeError) as refused:
        fetch_base(lie, target, pair.device.network, stop=threading.Event())
    expected = {"other bytes": "wrong-part", "another base": "wrong-base", "a path": "bad-manifest"}
    assert refused.value.code == expected[what]
    assert not target.exists()
    assert not (tmp_path / "in" / "evil.json").exists()


def test_only_files_of_the_base_are_given_out(pair: Pair) -> None:
    for name in ("../root/identity.pem", "identity.pem", ".banyan-digest.json", 7):
        body = json.dumps({"name": name, "offset": 0, "length": 10}).encode()
        with pytest.raises(Refusal):
            pair.call("base-part", body)
