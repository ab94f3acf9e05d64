"""Claims about renewal: who gets new certificates, when, and what a child believes of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nodes.errors import NodeError
from nodes.machine.clock import ManualClock, SystemClock
from nodes.state.event_codec import events_of
from nodes.state.events import MemberRenewed
from nodes.state.home import Home, open_home
from nodes.state.node import Node
from nodes.trust.enrolment import enrol_folder, resume, revoke, suspend
from nodes.trust.link_certificates import LINK_FILE, link_ends_ms
from nodes.trust.network import BACKDATED_MS, MEMBERSHIP_MS
from nodes.trust.renewal import (
    answer_renewal,
    ask_renewal,
    install_renewed,
    is_due,
    path_envelopes,
    renew_root,
)
from nodes.trust.transport_keys import generate_transport_key
from protocol import Refused, Renewal, Role, Scope, SigningKey, seal
from tests.nodes.network import make_root

DAY_MS = 86_400_000


@dataclass
class Pair:
    """A root and its device, on one clock."""

    root: Node
    device: Home
    clock: ManualClock

    def ask(self) -> bytes:
        return ask_renewal(self.device, self.clock.now_ms())

    def renew(self) -> bool:
        """Ask, answer and install."""
        renew_root(self.root.home, self.clock.now_ms())
        got = answer_renewal(self.root, self.ask())
        return install_renewed(self.device, got.path, got.link, got.authority, self.clock.now_ms())

    def renewals(self) -> int:
        return len(list(events_of(self.root.ledger, MemberRenewed)))


@pytest.fixture
def pair(tmp_path: Path, base: Path) -> Iterator[Pair]:
    clock = ManualClock(SystemClock().now_ms())
    root = Node(open_home(make_root(tmp_path / "root", base), clock.now_ms()), clock)
    device = enrol_folder(
        root, tmp_path / "device", "device", Scope(), Role.DEVICE, ["127.0.0.1:1"]
    )
    yield Pair(root, device, clock)
    root.close()


def test_a_membership_is_renewed_when_it_is_due_and_the_link_each_time(pair: Pair) -> None:
    assert pair.renew()
    first = (pair.device.folder / LINK_FILE).read_bytes()
    assert link_ends_ms(first) // 1000 == pair.clock.now_ms() // 1000 + 7 * 86_400
    assert pair.renewals() == 0
    pair.clock.advance(MEMBERSHIP_MS // 2 - DAY_MS)
    pair.renew()
    assert pair.renewals() == 0
    assert (pair.device.folder / LINK_FILE).read_bytes() != first
    pair.clock.advance(2 * DAY_MS)
    pair.renew()
    pair.renew()
    assert pair.renewals() == 1
    pair.clock.advance(MEMBERSHIP_MS - DAY_MS)  # the first one has ended
    assert open_home(pair.device.folder, pair.clock.now_ms()).id == pair.device.id


def test_a_lapsed_membership_is_renewed_all_the_same(pair: Pair) -> None:
    pair.clock.advance(2 * MEMBERSHIP_MS)
    with pytest.raises(Refused, match=r"^certificate-expired: "):
        open_home(pair.device.folder, pair.clock.now_ms())
    assert pair.renew()
    open_home(pair.device.folder, pair.clock.now_ms())


@pytest.mark.parametrize("lapsed", [False, True])
def test_suspended_and_revoked_members_get_nothing_and_hear_which_it_is(
    pair: Pair, lapsed: bool
) -> None:
    if lapsed:
        pair.clock.advance(2 * MEMBERSHIP_MS)
    suspend(pair.root, pair.device.id)
    refused(pair, pair.ask(), "suspended")
    resume(pair.root, pair.device.id)
    pair.renew()
    revoke(pair.root, pair.device.id)
    refused(pair, pair.ask(), "revoked")
    assert pair.renewals() == lapsed


def test_only_the_members_present_key_asks(pair: Pair, tmp_path: Path) -> None:
    good = Renewal(
        network=pair.root.home.network.network, node=pair.device.id, key_epoch=1, issued_ms=1
    )
    key, stranger = pair.device.key, SigningKey.generate()
    other = "ab" * 32

    def asked(by: SigningKey = key, **changes: object) -> bytes:
        return seal(replace(good, **changes), by).encode()  # type: ignore[arg-type]

    answer_renewal(pair.root, asked())
    refused(pair, asked(stranger), "bad-signature")
    refused(pair, asked(stranger, node=stranger.public.keyid), "not-a-member")
    refused(pair, asked(pair.root.home.key, node=pair.root.home.id), "not-a-member")
    refused(pair, asked(network=other), "wrong-network")
    refused(pair, asked(key_epoch=2), "wrong-key-epoch")
    refused(pair, b"rubbish", "malformed")
    refused(pair, bytes(1_000_000), "too-large")
    refused(pair, pair.root.home.network_envelope, "unknown-type")
    changed = bytearray(asked())
    changed[-1] ^= 1
    refused(pair, bytes(changed), "bad-signature")


def refused(pair: Pair, request: bytes, code: str) -> None:
    """Expect a refusal that records nothing."""
    before = pair.root.ledger.verify()
    with pytest.raises((NodeError, Refused), match=rf"^{code}: "):
        answer_renewal(pair.root, request)
    assert pair.root.ledger.verify() == before


@pytest.mark.parametrize("wrong", ["link", "authority", "path", "shorter path", "no path"])
def test_of_an_answer_that_does_not_verify_nothing_is_written(
    pair: Pair, tmp_path: Path, wrong: str
) -> None:
    pair.renew()
    sibling = enrol_folder(
        pair.root, tmp_path / "sibling", "sibling", Scope(), Role.DEVICE, ["127.0.0.1:1"]
    )
    pair.clock.advance(MEMBERSHIP_MS // 2 + DAY_MS)
    renew_root(pair.root.home, pair.clock.now_ms())
    got = answer_renewal(pair.root, pair.ask())
    theirs = answer_renewal(pair.root, ask_renewal(sibling, pair.clock.now_ms()))
    match wrong:
        case "link":
            got = replace(got, link=theirs.link)
        case "authority":
            got = replace(got, authority=b"-----BEGIN")
        case "path":
            got = replace(got, path=theirs.path)
        case "shorter path":
            got = replace(got, path=got.path[:1])
        case "no path":
            got = replace(got, path=())
    before = contents(pair.device.folder)
    with pytest.raises((NodeError, Refused)):
        install_renewed(pair.device, got.path, got.link, got.authority, pair.clock.now_ms())
    assert contents(pair.device.folder) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_answer_brings_the_authority_that_a_parent_has_now(pair: Pair) -> None:
    """The earlier one stays trusted beside it."""
    pair.renew()
    before, folder = pair.device.parent_ca, pair.root.home.folder / "tls"
    (folder / "ca.key").write_bytes(generate_transport_key())
    assert pair.renew()
    assert pair.device.parent_ca == (folder / "ca.pem").read_bytes()
    assert pair.device.parent_ca.endswith(before)
    assert len(pair.device.parent_ca) > len(before)


def test_what_earlier_versions_signed_for_a_year_is_due_as_if_it_were_for_90_days(
    pair: Pair,
) -> None:
    long_ago, day = pair.device.certificate, DAY_MS
    start = long_ago.valid_from_ms
    year = replace(long_ago, valid_until_ms=start + 366 * day)
    month = replace(long_ago, valid_until_ms=start + 30 * day)
    half = (BACKDATED_MS + MEMBERSHIP_MS) // 2
    for certificate, due in ((long_ago, half), (year, half), (month, 15 * day)):
        assert not is_due(certificate, start + due - 1)
        assert is_due(certificate, start + due)


def test_the_path_of_an_answer_ends_with_the_members_certificate(pair: Pair) -> None:
    got = answer_renewal(pair.root, pair.ask())
    assert got.path == path_envelopes(pair.device.folder)
