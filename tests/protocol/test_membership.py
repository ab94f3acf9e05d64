"""Membership: one set of rules for who may join a parent, be renewed, be shut out and return."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from protocol import (
    Certificate,
    Code,
    KeyId,
    Member,
    Membership,
    NodeId,
    Refused,
    Role,
    Scope,
    transport_digest,
)
from protocol.ids import Digest
from tests.protocol.world import (
    ALICE,
    BOB,
    PARENT,
    PARENT_KEY,
    ROOT,
    ROOT_KEY,
    SCOPE,
    certificate,
    named,
    refused,
)

PATH = (ROOT, PARENT)


def member(certificate: Certificate, **changes: Any) -> Member:
    return replace(Member.of(certificate, named(repr(certificate))), **changes)


ONE, OTHER = member(ALICE), member(BOB)
NEW_KEY = KeyId(named("a new key"))
DOMAIN = Scope("/en/healthcare")


def interior(name: str, scope: Scope = DOMAIN) -> Member:
    """An interior node with an identity of its own."""
    node = named(f"node {name}")
    return replace(
        ONE,
        node=NodeId(node),
        key=KeyId(node),
        transport=named(f"transport {name}"),
        scope=scope,
        role=Role.INTERIOR,
        name=name,
    )


def known(*members: Member) -> Membership:
    """A parent with these members, each enrolled by the rules."""
    membership = Membership(PATH)
    for one in members:
        enrol(membership, one)
    return membership


def enrol(membership: Membership, member: Member, previous_key_signed: bool = False) -> None:
    membership.check(member, previous_key_signed)
    membership.enrol(member)


def revoke(membership: Membership, node: NodeId) -> None:
    membership.check_revocation(node)
    membership.revoke(node)


def suspend(membership: Membership, node: NodeId) -> None:
    membership.check_suspension(node)
    membership.suspend(node)


def resume(membership: Membership, node: NodeId) -> None:
    membership.check_resumption(node)
    membership.resume(node)


def test_an_enrolled_node_is_an_active_member() -> None:
    membership = known(ONE)
    assert membership.get(ONE.node) == ONE
    assert membership.active == (ONE.node,)
    assert membership.get(OTHER.node) is None


def test_a_member_is_what_its_certificate_says() -> None:
    assert (ONE.node, NodeId(ONE.key), ONE.epoch) == (ALICE.node, ALICE.node, ALICE.key_epoch)
    assert (ONE.scope, ONE.role, ONE.name) == (ALICE.scope, ALICE.role, ALICE.name)


def test_the_transport_keys_of_one_key_have_one_name_however_they_are_written() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert transport_digest(pem) == transport_digest(b"\n" + pem.replace(b"\n", b"\r\n"))


def test_a_check_changes_nothing() -> None:
    membership = known(ONE)
    membership.check(OTHER)
    with refused(Code.DUPLICATE_NAME):
        membership.check(replace(OTHER, name=ONE.name))
    membership.check_revocation(ONE.node)
    assert membership == known(ONE)


# Duplicates


def test_a_parent_is_not_its_own_child() -> None:
    own = certificate(PARENT_KEY, Role.DEVICE, SCOPE, PARENT_KEY, SCOPE)
    with refused(Code.DUPLICATE_NODE):
        known().check(member(own))


def test_a_node_above_the_parent_is_not_its_child() -> None:
    own = certificate(ROOT_KEY, Role.DEVICE, SCOPE, PARENT_KEY, SCOPE)
    with refused(Code.DUPLICATE_NODE):
        known().check(member(own))


@pytest.mark.parametrize("above", PATH, ids=["of the root", "of the parent"])
def test_a_key_on_the_path_is_no_key_of_a_child(above: Certificate) -> None:
    membership = known(ONE)
    with refused(Code.DUPLICATE_KEY):
        membership.check(replace(ONE, key=member(above).key, epoch=2), True)


def test_one_identity_has_one_place() -> None:
    for elsewhere in ({"scope": DOMAIN}, {"role": Role.INTERIOR, "scope": DOMAIN}):
        with refused(Code.DUPLICATE_NODE):
            known(ONE).check(replace(ONE, **elsewhere))


def test_who_was_revoked_does_not_return_at_another_place() -> None:
    membership = known(ONE)
    revoke(membership, ONE.node)
    with refused(Code.DUPLICATE_NODE):
        membership.check(replace(ONE, scope=DOMAIN, role=Role.INTERIOR))


def test_two_members_do_not_share_a_signing_key() -> None:
    with refused(Code.DUPLICATE_KEY):
        known(ONE, OTHER).check(replace(OTHER, key=ONE.key, epoch=2), True)


@pytest.mark.parametrize("revoked", [False, True])
def test_a_signing_key_that_was_replaced_stays_its_node_s(revoked: bool) -> None:
    membership = known(ONE)
    enrol(membership, replace(ONE, key=NEW_KEY, epoch=2), True)
    enrol(membership, replace(ONE, key=KeyId(named("a third key")), epoch=3), True)
    if revoked:
        revoke(membership, ONE.node)
    with refused(Code.DUPLICATE_KEY):
        membership.check(replace(OTHER, node=NodeId(NEW_KEY), key=NEW_KEY))


def test_two_members_do_not_share_a_transport_key() -> None:
    with refused(Code.DUPLICATE_TRANSPORT_KEY):
        known(ONE).check(replace(OTHER, transport=ONE.transport))


def test_a_revoked_member_s_transport_key_stays_its_own() -> None:
    membership = known(ONE)
    revoke(membership, ONE.node)
    with refused(Code.DUPLICATE_TRANSPORT_KEY):
        membership.check(replace(OTHER, transport=ONE.transport))


def test_the_parent_s_transport_key_is_no_key_of_a_child() -> None:
    with refused(Code.DUPLICATE_TRANSPORT_KEY):
        known().check(replace(ONE, transport=member(PARENT).transport))


def test_a_scope_has_one_interior_node() -> None:
    with refused(Code.SCOPE_TAKEN):
        known(interior("first")).check(interior("second"))


def test_a_scope_has_a_successor_once_its_node_was_revoked() -> None:
    membership = known(interior("first"))
    revoke(membership, interior("first").node)
    enrol(membership, interior("second"))
    assert membership.active == (interior("second").node,)
    with refused(Code.SCOPE_TAKEN):
        membership.check(interior("first"))


def test_a_scope_has_many_devices() -> None:
    assert len(known(ONE, OTHER).active) == 2


def test_two_active_members_do_not_share_a_name() -> None:
    with refused(Code.DUPLICATE_NAME):
        known(ONE).check(replace(OTHER, name=ONE.name))


def test_the_name_of_who_was_revoked_is_free_and_then_taken() -> None:
    membership, namesake = known(ONE), replace(OTHER, name=ONE.name)
    revoke(membership, ONE.node)
    enrol(membership, namesake)
    with refused(Code.DUPLICATE_NAME):
        membership.check(ONE)
    enrol(membership, replace(ONE, name="another name"))
    assert set(membership.active) == {ONE.node, OTHER.node}


def test_a_name_that_its_member_gave_up_is_free() -> None:
    membership = known(ONE)
    enrol(membership, replace(ONE, name="another name"))
    enrol(membership, replace(OTHER, name=ONE.name))
    assert set(membership.active) == {ONE.node, OTHER.node}


# Renewals and epochs


def test_a_renewed_certificate_replaces_the_old_one() -> None:
    membership, renewed = known(ONE), replace(ONE, certificate=named("renewed"))
    enrol(membership, renewed)
    assert membership.get(ONE.node) == renewed
    assert membership.active == (ONE.node,)


def test_a_new_key_signed_by_the_old_one_replaces_it() -> None:
    membership, rotated = known(ONE), replace(ONE, key=NEW_KEY, epoch=2)
    enrol(membership, rotated, previous_key_signed=True)
    assert membership.get(ONE.node) == rotated


def test_a_new_key_that_the_old_one_did_not_sign_is_refused() -> None:
    with refused(Code.BAD_SIGNATURE):
        known(ONE).check(replace(ONE, key=NEW_KEY, epoch=2))


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_new_key_has_the_next_epoch(epoch: int) -> None:
    with refused(Code.WRONG_KEY_EPOCH):
        known(ONE).check(replace(ONE, key=NEW_KEY, epoch=epoch), True)


def test_the_same_key_keeps_its_epoch() -> None:
    with refused(Code.WRONG_KEY_EPOCH):
        known(ONE).check(replace(ONE, epoch=2), True)


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_key_that_was_replaced_does_not_come_back(epoch: int) -> None:
    membership = known(ONE)
    enrol(membership, replace(ONE, key=NEW_KEY, epoch=2), True)
    with refused(Code.WRONG_KEY_EPOCH):
        membership.check(replace(ONE, epoch=epoch), True)


def test_who_was_never_enrolled_starts_at_epoch_1() -> None:
    with refused(Code.WRONG_KEY_EPOCH):
        known().check(replace(ONE, epoch=2), True)


# Revoked and pardoned


def test_a_revoked_member_is_not_active() -> None:
    membership = known(ONE, OTHER)
    revoke(membership, ONE.node)
    assert membership.active == (OTHER.node,)
    assert (membership.is_revoked(ONE.node), membership.is_revoked(OTHER.node)) == (True, False)
    assert membership.revoked == (ONE.node,)
    assert membership.get(ONE.node) == ONE


def test_who_is_enrolled_again_is_pardoned_and_its_revocations_stay_counted() -> None:
    membership = known(ONE)
    for _ in range(2):
        revoke(membership, ONE.node)
        enrol(membership, ONE)
    assert membership.active == (ONE.node,)
    assert membership.revoked == ()
    assert membership.departures == {ONE.node: 2}


def test_only_an_active_member_can_be_revoked() -> None:
    membership = known(ONE)
    with refused(Code.NOT_A_MEMBER):
        membership.check_revocation(OTHER.node)
    revoke(membership, ONE.node)
    with refused(Code.NOT_A_MEMBER):
        membership.check_revocation(ONE.node)


# Suspended and resumed


def test_a_suspended_member_is_not_active_until_it_is_resumed() -> None:
    membership = known(ONE, OTHER)
    suspend(membership, ONE.node)
    assert (membership.active, membership.suspended) == ((OTHER.node,), (ONE.node,))
    assert membership.is_suspended(ONE.node) and not membership.is_revoked(ONE.node)
    assert membership.revoked == ()
    resume(membership, ONE.node)
    assert membership.active == tuple(sorted((ONE.node, OTHER.node)))
    assert membership.suspended == ()
    assert membership.departures == {ONE.node: 1}


def test_a_suspended_member_keeps_its_name_and_its_scope() -> None:
    membership = known(interior("first"))
    suspend(membership, interior("first").node)
    with refused(Code.SCOPE_TAKEN):
        membership.check(interior("heir"))
    with refused(Code.DUPLICATE_NAME):
        membership.check(replace(OTHER, name="first"))
    revoke(membership, interior("first").node)
    membership.check(interior("heir"))


def test_enrolling_a_suspended_member_again_does_not_resume_it() -> None:
    membership = known(ONE)
    suspend(membership, ONE.node)
    with refused(Code.SUSPENDED):
        membership.check(ONE)
    membership.enrol(ONE)  # as a ledger from elsewhere might say
    assert membership.active == ()
    membership.renew(ONE.node, named("another certificate"))
    assert membership.active == ()


def test_only_an_active_member_is_suspended_and_only_a_suspended_one_resumed() -> None:
    membership = known(ONE)
    for check in (membership.check_suspension, membership.check_resumption):
        with refused(Code.NOT_A_MEMBER):
            check(OTHER.node)
    with refused(Code.NOT_SUSPENDED):
        membership.check_resumption(ONE.node)
    suspend(membership, ONE.node)
    with refused(Code.SUSPENDED):
        membership.check_suspension(ONE.node)
    revoke(membership, ONE.node)
    assert (membership.suspended, membership.revoked) == ((), (ONE.node,))
    for check in (membership.check_suspension, membership.check_resumption):
        with refused(Code.NOT_A_MEMBER):
            check(ONE.node)
    enrol(membership, ONE)
    assert membership.active == (ONE.node,)


def test_a_ledger_that_breaks_a_rule_is_still_read() -> None:
    membership = known(interior("first"))
    copied = replace(interior("second"), transport=interior("first").transport)
    membership.enrol(copied)
    membership.enrol(replace(OTHER, name="first", transport=Digest("")))
    assert len(membership.active) == 3
    with refused(Code.DUPLICATE_TRANSPORT_KEY):
        membership.check(copied)
    with refused(Code.SCOPE_TAKEN):
        membership.check(interior("first"))
    revoke(membership, copied.node)
    with refused(Code.DUPLICATE_NAME):
        membership.check(interior("first"))
    revoke(membership, OTHER.node)
    membership.check(interior("first"))


# Any order of steps

KEYS = [KeyId(named(f"key {number}")) for number in range(4)]
CERTIFICATES = st.builds(
    Member,
    node=st.sampled_from(KEYS).map(NodeId),
    key=st.sampled_from(KEYS),
    transport=st.sampled_from([named(f"transport {number}") for number in range(3)]),
    epoch=st.integers(1, 3),
    scope=st.sampled_from([SCOPE, DOMAIN]),
    role=st.sampled_from([Role.DEVICE, Role.INTERIOR]),
    name=st.sampled_from(["a", "b", "c"]),
    certificate=st.just(named("certificate")),
).map(lambda one: replace(one, key=KeyId(one.node)) if one.epoch == 1 else one)
ACTS = st.sampled_from(["suspend", "resume", "revoke"])
STEPS = st.lists(
    st.one_of(CERTIFICATES, st.tuples(ACTS, st.sampled_from(KEYS).map(NodeId))), max_size=24
)


@given(STEPS)
def test_no_two_members_share_anything_after_any_allowed_steps(
    steps: list[Member | tuple[str, NodeId]],
) -> None:
    membership, again = Membership(PATH), Membership(PATH)
    for step in steps:
        try:
            if isinstance(step, Member):
                membership.check(step, previous_key_signed=True)
                for folded in (membership, again):
                    folded.enrol(step)
                assert step.node in membership.active
            else:
                act, node = step
                match act:
                    case "suspend":
                        membership.check_suspension(node)
                    case "resume":
                        membership.check_resumption(node)
                    case _:
                        membership.check_revocation(node)
                for folded in (membership, again):
                    getattr(folded, act)(node)
                assert (node in membership.active) == (act == "resume")
                assert membership.is_suspended(node) == (act == "suspend")
                assert membership.is_revoked(node) == (act == "revoke")
        except Refused:
            assert membership == again  # what was refused changed nothing
        assert Membership.from_plain(membership.to_plain(), PATH) == membership
        states = [*membership.active, *membership.suspended, *membership.revoked]
        assert sorted(states) == sorted(one.node for one in membership.members)
        assert list(membership.active) == sorted(membership.active)
        inside = [
            one
            for node in (*membership.active, *membership.suspended)
            if (one := membership.get(node))
        ]
        for shared in (
            [one.key for one in inside],
            [one.transport for one in inside],
            [one.name for one in inside],
            [one.scope for one in inside if one.role is Role.INTERIOR],
        ):
            assert max(Counter(shared).values(), default=0) <= 1
