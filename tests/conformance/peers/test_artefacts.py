"""Attack: ask for artefacts that a member must not have, or in ways that nobody should."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from nodes.peers.artefacts.holders import HolderLimits
from nodes.state.event_codec import events_of
from nodes.state.events import Released, UpdateAccepted
from protocol import Digest, peer_pb2
from tests.conformance.peers.asking import ANSWERED, Target, ask, ask_on, channel_to
from tests.conformance.peers.family import Family

HUGE = 2**64 - 1


def sha256(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def fetch_of(digest: str, offset: int = 0, length: int = 1) -> peer_pb2.FetchRequest:
    return peer_pb2.FetchRequest(digest=bytes.fromhex(digest), offset=offset, length=length)


def secrets_of(family: Family) -> Iterator[tuple[str, Digest]]:
    """What is in the folders of the root and of the device and not of the chain."""
    node = family.root.member.node
    released = {e.held.adapter for e in events_of(node.ledger, Released)}  # type: ignore[attr-defined]
    for serving in (family.root, family.one):
        store = serving.member.node.artefacts
        yield from (("artefact", digest) for digest in store.digests() if digest not in released)
        for file in sorted(serving.home.folder.rglob("*")):
            if not file.is_file() or "artefacts" in file.parts:
                continue
            if file.name in ("basis.safetensors",) or "base" in file.parts:
                continue
            yield file.name, sha256(file.read_bytes())


@pytest.mark.parametrize("where", ["children", "siblings"])
def test_nothing_but_the_chain_the_basis_and_the_base_is_given(family: Family, where: str) -> None:
    target: Target = getattr(family, where)
    node = family.root.member.node
    secrets = {digest: name for name, digest in secrets_of(family)}
    deltas = {e.seat.payload for e in events_of(node.ledger, UpdateAccepted)}  # type: ignore[attr-defined]
    assert len(deltas) >= 4
    assert deltas <= set(secrets)
    assert {"identity.pem", "transport.pem", "ca.key"} <= set(secrets.values())
    asked = sorted(secrets)
    with channel_to(target, family.members["two"].shown) as channel:
        for start in range(0, len(asked), 256):
            digests = [bytes.fromhex(digest) for digest in asked[start : start + 256]]
            got = ask_on(channel, "Locate", peer_pb2.LocateRequest(digests=digests))
            reply = peer_pb2.LocateReply.FromString(got.replies[0])
            given = [located.digest.hex() for located in reply.located if located.here]
            assert not given, [secrets[Digest(digest)] for digest in given]
        worst = [*sorted(deltas), *(d for d in asked if secrets[d] != "artefact")]
        for digest in worst:
            got = ask_on(channel, "Fetch", fetch_of(digest))
            assert (got.code, got.replies) == ("not-here", ()), secrets[digest]
    assert len(worst) > 20


def test_a_delta_of_its_own_is_not_given_either(family: Family) -> None:
    member, node = family.members["two"], family.root.member.node
    own = [e for e in events_of(node.ledger, UpdateAccepted) if e.child == member.id]  # type: ignore[attr-defined]
    for event in own:
        got = ask(family.children, member.shown, "Fetch", fetch_of(event.seat.payload))  # type: ignore[attr-defined]
        assert got.code == "not-here"
    assert own


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (HUGE, 1),
        (0, HUGE),
        (HUGE, HUGE),
        (1, HUGE),
        (2**63, 2**63),
        (0, 16 * 1024 * 1024 + 1),
        (0, 16 * 1024 * 1024),
        (2**32, 0),
    ],
)
@pytest.mark.parametrize("where", ["children", "siblings"])
def test_offsets_and_lengths_that_lie(family: Family, where: str, offset: int, length: int) -> None:
    basis = family.root.home.network.basis
    got = ask(
        getattr(family, where),
        family.members["two"].shown,
        "Fetch",
        fetch_of(basis, offset, length),
    )
    assert (got.code, got.told, got.replies) == ("malformed", True, ()), got


def test_what_may_be_had_is_given_whole(family: Family) -> None:
    """Otherwise the tests above would pass with a parent that gives nothing."""
    home = family.root.home
    size = home.basis_file.stat().st_size
    for target in (family.children, family.siblings):
        got = ask(
            target, family.members["two"].shown, "Fetch", fetch_of(home.network.basis, 0, size)
        )
        data = b"".join(peer_pb2.Chunk.FromString(reply).data for reply in got.replies)
        assert (got.code, data) == (ANSWERED, home.basis_file.read_bytes())


@pytest.mark.parametrize("count", [0, 257, 10_000])
@pytest.mark.parametrize("name", ["Locate", "Announce"])
def test_too_many_digests_in_one_question(family: Family, name: str, count: int) -> None:
    request = {"Locate": peer_pb2.LocateRequest, "Announce": peer_pb2.AnnounceRequest}[name]
    digests = [number.to_bytes(32, "big") for number in range(count)]
    for target in (family.children, family.siblings):
        got = ask(target, family.members["two"].shown, name, request(digests=digests))
        assert (got.code, got.told) == ("malformed", True), got


@pytest.mark.parametrize("size", [0, 31, 33, 100_000])
@pytest.mark.parametrize("name", ["Locate", "Announce", "Fetch"])
def test_digests_that_are_none(family: Family, name: str, size: int) -> None:
    requests = {
        "Locate": peer_pb2.LocateRequest(digests=[bytes(size)]),
        "Announce": peer_pb2.AnnounceRequest(digests=[bytes(32), bytes(size)]),
        "Fetch": peer_pb2.FetchRequest(digest=bytes(size), length=1),
    }
    got = ask(family.children, family.members["two"].shown, name, requests[name])
    assert (got.code, got.told) == ("malformed", True), got


def test_a_member_that_announces_everything_is_not_believed_beyond_its_share(
    family: Family,
) -> None:
    """Who cannot be dialled is no holder; the parent remembers nothing of what it says."""
    liar, asker = family.members["en"], family.members["two"]
    with channel_to(family.children, liar.shown) as channel:
        for start in range(0, 3 * HolderLimits.each, 256):
            digests = [(start + n).to_bytes(32, "big") for n in range(256)]
            got = ask_on(channel, "Announce", peer_pb2.AnnounceRequest(digests=digests))
            assert got.code == ANSWERED
    question = peer_pb2.LocateRequest(digests=[n.to_bytes(32, "big") for n in range(256)])
    got = ask(family.children, asker.shown, "Locate", question)
    reply = peer_pb2.LocateReply.FromString(got.replies[0])
    assert not any(located.holders or located.here for located in reply.located)
