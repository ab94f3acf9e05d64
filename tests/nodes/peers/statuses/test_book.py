"""Claims about what is kept of what children hand in: who must have signed it, and how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodes.errors import NodeError
from nodes.peers.statuses.book import BookLimits, RefusedStatus
from nodes.peers.statuses.rows import MOST_REFUSALS, STATUSES_FILE
from nodes.trust.enrolment import resume, revoke, suspend
from protocol import LIMITS, Envelope, Role, Scope, SigningKey, digest_of, seal
from protocol.peer_pb2 import Signed
from tests.nodes.peers.statuses.world import World, a_world

SKEW_MS = LIMITS.clock_skew_s * 1000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def codes(refused: list[RefusedStatus]) -> list[str]:
    return [each.code for each in refused]


def test_a_childs_own_status_and_those_of_its_path_are_kept_and_go_upward_verbatim(
    world: World,
) -> None:
    care = world.en.below("care", Role.INTERIOR, now_ms=world.now)
    clinic = care.below("clinic", now_ms=world.now)
    statuses = [signer.signed(world.now) for signer in (world.en, care, clinic)]
    assert world.book.take(world.en.id, statuses) == []
    rows = world.book.newest(0)
    assert [(row.name, row.tier) for row in rows] == [("en", 1), ("care", 2), ("clinic", 3)]
    assert world.book.signed(rows) == statuses
    assert world.book.newest(rows[-1].seq) == []
    assert world.again().newest(0) == rows
    # A parent and a child may come in one report in any order but this one: known, then taken.
    assert world.book.take(world.en.id, statuses) == []


def test_of_a_childs_own_status_only_its_membership_decides(world: World) -> None:
    without = Signed(statement=world.en.signed(world.now).statement)
    assert world.book.take(world.en.id, [without]) == []
    (row,) = world.book.newest(0)
    (kept,) = world.book.signed([row])
    assert kept.certificate == world.en.envelope  # those above need it
    forged = SigningKey.generate()
    made_up = seal(world.en.status(world.now + 1), forged).encode()
    (refused,) = world.book.take(world.en.id, [Signed(statement=made_up)])
    assert (refused.code, refused.node) == ("bad-signature", world.en.id)
    assert "en handed in a status of its own" in refused.sentence


def test_a_status_that_a_relay_changed_is_refused_and_says_by_whom_it_came(world: World) -> None:
    care = world.en.below("care", Role.INTERIOR, now_ms=world.now)
    clinic = care.below("clinic", now_ms=world.now)
    world.book.take(world.en.id, [world.en.signed(world.now), care.signed(world.now)])
    honest = clinic.signed(world.now)
    envelope = Envelope.decode(honest.statement)
    changed = replace(clinic.status(world.now), version=8)
    lie = replace(envelope, payload=changed.to_bytes())
    tampered = Signed(statement=lie.encode(), certificate=honest.certificate)
    (refused,) = world.book.take(world.en.id, [tampered])
    assert (refused.code, refused.node, refused.via) == ("bad-signature", clinic.id, world.en.id)
    assert "en handed in a status of clinic, passed on by care, that is not as" in refused.sentence
    assert "clinic" not in world.kept()
    world.book.take(world.en.id, [tampered])
    (kept,) = world.book.file.refusals()
    assert (kept.count, kept.via_name, kept.code) == (2, "en", "bad-signature")
    assert world.book.take(world.en.id, [honest]) == []  # it changed nothing for the honest one


def test_older_replayed_and_future_statuses_are_refused(world: World) -> None:
    first, second = world.en.signed(world.now), world.en.signed(world.now + 1)
    assert world.book.take(world.en.id, [second]) == []
    assert codes(world.book.take(world.en.id, [first])) == ["replayed"]
    assert world.book.take(world.en.id, [second]) == []  # the same again is known
    assert codes(world.again().take(world.en.id, [first])) == ["replayed"]
    other = world.en.signed(world.now + 1, version=9)
    assert codes(world.book.take(world.en.id, [other])) == ["replayed"]
    ahead = world.en.signed(world.now + SKEW_MS + 1)
    assert codes(world.book.take(world.en.id, [ahead])) == ["clock-skew"]
    assert world.book.take(world.en.id, [world.en.signed(world.now + SKEW_MS)]) == []


def test_a_status_from_a_siblings_subtree_is_refused(world: World) -> None:
    clinic = world.fr.below("clinic", now_ms=world.now)
    world.book.take(world.fr.id, [world.fr.signed(world.now)])
    statuses = [clinic.signed(world.now), world.fr.signed(world.now + 1)]
    refused = world.book.take(world.en.id, statuses)
    assert codes(refused) == ["wrong-parent", "wrong-parent"]
    assert "does not come from below en" in refused[0].sentence
    assert world.book.take(world.fr.id, statuses) == []


def test_who_is_not_certified_by_the_parent_it_names_is_refused(world: World) -> None:
    care = world.en.below("care", Role.INTERIOR, now_ms=world.now)
    world.book.take(world.en.id, [world.en.signed(world.now), care.signed(world.now)])
    clinic = care.below("clinic", now_ms=world.now)
    # ``en`` signs in the name of ``care``.
    forged = replace(clinic, envelope=seal(clinic.certificate, world.en.key).encode())
    (refused,) = world.book.take(world.en.id, [forged.signed(world.now)])
    assert refused.code == "bad-signature"
    assert "care, its parent, did not sign" in refused.sentence


def test_until_the_parent_is_known_its_children_wait(world: World) -> None:
    care = world.en.below("care", Role.INTERIOR, now_ms=world.now)
    clinic = care.below("clinic", now_ms=world.now).signed(world.now)
    assert codes(world.book.take(world.en.id, [clinic])) == ["unknown-parent"]
    assert world.book.take(world.en.id, [care.signed(world.now), clinic]) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"scope": Scope("/fr")}, "wrong-scope"),
        ({"parent_scope": Scope("/fr")}, "wrong-scope"),
        ({"network": digest_of(b"other")}, "wrong-network"),
        ({"valid_until_ms": 1, "valid_from_ms": 0}, "certificate-expired"),
        ({"mask_rank": 4}, "wrong-mask"),
    ],
)
def test_a_certificate_must_fit_its_place(world: World, changes: dict[str, Any], code: str) -> None:
    clinic = world.en.below("clinic", now_ms=world.now, **changes)
    assert codes(world.book.take(world.en.id, [clinic.signed(world.now)])) == [code]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"scope": Scope("/fr")}, "wrong-scope"),
        ({"role": Role.INTERIOR}, "wrong-role"),
        ({"network": digest_of(b"other")}, "wrong-network"),
        ({"node": digest_of(b"other")}, "wrong-node"),
        ({"name": "hospital"}, "wrong-node"),
        ({"nonce": bytes(32)}, "wrong-nonce"),
        ({"confined": True}, "confined"),
    ],
)
def test_a_status_must_fit_its_certificate(
    world: World, changes: dict[str, Any], code: str
) -> None:
    clinic = world.en.below("clinic", now_ms=world.now)
    refused = world.book.take(world.en.id, [clinic.signed(world.now, **changes)])
    assert codes(refused) == [code]
    assert world.kept() == set()


def test_a_node_does_not_hang_below_itself(world: World) -> None:
    home = world.root.home
    for node in (home.id, world.en.id):
        evil = world.en.below("care", Role.INTERIOR, now_ms=world.now, node=node, key_epoch=2)
        assert world.book.take(world.en.id, [evil.signed(world.now)]) != []
    care = world.en.below("care", Role.INTERIOR, now_ms=world.now)
    deep = care.below("deep", Role.INTERIOR, now_ms=world.now)
    again = deep.below("care", Role.INTERIOR, now_ms=world.now, node=care.id, key_epoch=2)
    statuses = [signer.signed(world.now) for signer in (care, deep)]
    assert world.book.take(world.en.id, statuses) == []
    assert codes(world.book.take(world.en.id, [again.signed(world.now + 1)])) == ["duplicate-node"]


def test_a_child_cannot_replace_what_another_handed_in(world: World) -> None:
    """A certificate of a later key may bear any id: rows are kept apart by who handed them in."""
    clinic = world.fr.below("clinic", now_ms=world.now)
    assert world.book.take(world.fr.id, [clinic.signed(world.now)]) == []
    evil = world.en.below("clinic", now_ms=world.now, node=clinic.id, key_epoch=2)
    world.book.take(world.en.id, [evil.signed(world.now + 1)])
    kept = {row.via: row.issued_ms for row in world.book.file.rows() if row.node == clinic.id}
    assert kept[world.fr.id] == world.now


def test_who_is_out_is_not_heard_and_nothing_of_it_goes_upward(world: World) -> None:
    clinic = world.en.below("clinic", now_ms=world.now)
    statuses = [world.en.signed(world.now), clinic.signed(world.now)]
    world.book.take(world.en.id, statuses)
    suspend(world.root, world.en.id)
    with pytest.raises(NodeError) as refused:
        world.book.take(world.en.id, statuses)
    assert refused.value.code == "suspended"
    assert world.book.newest(0) == []
    resume(world.root, world.en.id)
    assert len(world.book.newest(0)) == 2
    revoke(world.root, world.en.id)
    with pytest.raises(NodeError) as refused:
        world.book.take(world.en.id, statuses)
    assert refused.value.code == "revoked"
    assert world.book.newest(0) == []
    with pytest.raises(NodeError) as refused:
        world.book.take(clinic.id, statuses)
    assert refused.value.code == "not-a-member"


def test_who_lapsed_is_not_heard(world: World) -> None:
    world.clock.set_to(world.en.certificate.valid_until_ms + SKEW_MS + 1)
    with pytest.raises(NodeError) as refused:
        world.book.take(world.en.id, [world.en.signed(world.now)])
    assert refused.value.code == "certificate-expired"


def test_a_confined_status_stays_here_with_all_below_it_and_is_counted(world: World) -> None:
    clinic = world.en.below("clinic", now_ms=world.now)
    world.book.take(
        world.en.id, [world.en.signed(world.now, confined=True, hidden=3), clinic.signed(world.now)]
    )
    world.book.take(world.fr.id, [world.fr.signed(world.now, hidden=1)])
    assert [row.name for row in world.book.newest(0)] == ["fr"]
    assert world.book.hidden == 2 + 3 + 1


def test_a_child_cannot_fill_the_disk(world: World) -> None:
    book = world.again(BookLimits(statuses=3))
    devices = [world.en.below(f"device-{i}", now_ms=world.now) for i in range(4)]
    assert book.take(world.en.id, [d.signed(world.now) for d in devices[:3]]) == []
    assert codes(book.take(world.en.id, [devices[3].signed(world.now)])) == ["too-many-statuses"]
    assert book.take(world.en.id, [devices[0].signed(world.now + 1)]) == []  # in place of the old
    assert book.take(world.fr.id, [world.fr.signed(world.now)]) == []  # others have their own room
    world.clock.advance(25 * 3600 * 1000)
    assert book.take(world.en.id, [devices[3].signed(world.now)]) == []  # old ones made room
    assert world.kept() == {"device-3", "fr"}
    (row,) = [row for row in book.file.rows() if row.via == world.en.id]
    small = world.again(BookLimits(bytes=2 * row.size - 1))
    refused = small.take(world.en.id, [devices[0].signed(world.now + 2)])
    assert codes(refused) == ["too-many-statuses"]
    assert small.take(world.en.id, [devices[3].signed(world.now + 2)]) == []


def test_what_is_too_large_or_unreadable_is_refused(world: World) -> None:
    good = world.en.signed(world.now)
    for signed, code in (
        (Signed(statement=bytes(256 * 1024 + 1)), "too-large"),
        (Signed(statement=b"nonsense"), "malformed"),
        (Signed(statement=good.statement, certificate=b"nonsense"), "malformed"),
        (Signed(statement=good.statement, certificate=bytes(20_000)), "too-large"),
        (Signed(statement=good.certificate), "unknown-type"),
        (Signed(statement=good.statement, certificate=good.statement), "unknown-type"),
    ):
        assert codes(world.book.take(world.en.id, [signed, good])) == [code]
    assert world.kept() == {"en"}


def test_refusals_are_remembered_but_not_without_end(world: World) -> None:
    devices = [world.en.below(f"d{i}", now_ms=world.now) for i in range(MOST_REFUSALS + 5)]
    world.book.take(world.en.id, [d.signed(world.now, confined=True) for d in devices])
    kept = world.book.file.refusals()
    assert len(kept) == MOST_REFUSALS
    assert devices[-1].id in {refusal.node for refusal in kept}


def test_old_statuses_are_forgotten(world: World) -> None:
    world.book.take(world.en.id, [world.en.signed(world.now)])
    world.clock.advance(29 * 24 * 3600 * 1000)
    assert world.book.forget_old() == 0
    world.clock.advance(2 * 24 * 3600 * 1000)
    assert world.book.forget_old() == 1
    assert world.book.newest(0) == []


def test_a_damaged_file_is_begun_anew(world: World) -> None:
    world.book.take(world.en.id, [world.en.signed(world.now)])
    world.book.close()
    (world.root.home.folder / STATUSES_FILE).write_bytes(b"x" * 5000)
    assert world.again().newest(0) == []
    assert world.book.take(world.en.id, [world.en.signed(world.now)]) == []
