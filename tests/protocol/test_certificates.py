"""A path of certificates holds from the pinned network down."""

from collections.abc import Sequence
from dataclasses import replace

from protocol import (
    Certificate,
    Code,
    Role,
    Scope,
    SigningKey,
    seal,
    verify_network,
    verify_path,
)
from tests.protocol.world import (
    ALICE,
    ALICE_KEY,
    BOB,
    BOB_KEY,
    HOUR,
    NETWORK,
    NOW,
    PARENT,
    PARENT_KEY,
    ROOT,
    ROOT_KEY,
    SCOPE,
    STRANGER_KEY,
    certificate,
    named,
    node_of,
    refused,
)

SEALED = seal(NETWORK, ROOT_KEY)
HONEST = ((ROOT, ROOT_KEY), (PARENT, ROOT_KEY), (ALICE, PARENT_KEY))


def path_of(
    signed: Sequence[tuple[Certificate, SigningKey]], now_ms: int = NOW
) -> tuple[Certificate, ...]:
    envelopes = [seal(certificate, key).encode() for certificate, key in signed]
    return verify_path(SEALED.encode(), envelopes, now_ms=now_ms)[1]


def test_a_path_from_the_root_to_a_device_holds() -> None:
    assert path_of(HONEST) == (ROOT, PARENT, ALICE)


def test_the_path_of_a_root_is_its_own_certificate() -> None:
    assert path_of(HONEST[:1]) == (ROOT,)


def test_the_pinned_network_is_the_one_that_was_pinned() -> None:
    assert verify_network(SEALED.encode(), pinned=SEALED.digest) == NETWORK


def test_another_network_than_the_pinned_one_is_refused() -> None:
    with refused(Code.WRONG_NETWORK):
        verify_network(SEALED.encode(), pinned=named("another"))


def test_a_network_that_its_root_did_not_sign_is_refused() -> None:
    with refused(Code.BAD_SIGNATURE):
        verify_network(seal(NETWORK, STRANGER_KEY).encode())


def test_a_network_whose_root_has_another_id_is_refused() -> None:
    with refused(Code.WRONG_NODE):
        verify_network(seal(replace(NETWORK, root=node_of(STRANGER_KEY)), ROOT_KEY).encode())


def test_an_empty_path_is_refused() -> None:
    with refused(Code.MALFORMED):
        path_of([])


def test_a_path_that_skips_the_parent_is_refused() -> None:
    with refused(Code.BAD_SIGNATURE):
        path_of([HONEST[0], HONEST[2]])


def test_a_certificate_signed_by_a_stranger_is_refused() -> None:
    with refused(Code.BAD_SIGNATURE):
        path_of([*HONEST[:2], (ALICE, STRANGER_KEY)])


def test_a_certificate_signed_by_its_own_key_is_refused() -> None:
    with refused(Code.BAD_SIGNATURE):
        path_of([*HONEST[:2], (ALICE, ALICE_KEY)])


def test_a_certificate_of_another_network_is_refused() -> None:
    with refused(Code.WRONG_NETWORK):
        path_of([*HONEST[:2], (replace(ALICE, network=named("other")), PARENT_KEY)])


def test_a_certificate_that_names_another_parent_is_refused() -> None:
    with refused(Code.WRONG_PARENT):
        path_of([*HONEST[:2], (replace(ALICE, parent=ROOT.node), PARENT_KEY)])


def test_an_interior_node_cannot_certify_outside_its_scope() -> None:
    abroad = replace(ALICE, scope=Scope("/es/healthcare"), role=Role.INTERIOR)
    with refused(Code.WRONG_SCOPE):
        path_of([*HONEST[:2], (abroad, PARENT_KEY)])


def test_an_interior_node_cannot_certify_two_tiers_below() -> None:
    below = replace(ALICE, scope=Scope("/en/a/b"), role=Role.INTERIOR)
    with refused(Code.WRONG_SCOPE):
        path_of([*HONEST[:2], (below, PARENT_KEY)])


def test_a_device_hangs_below_its_parent_s_own_scope() -> None:
    with refused(Code.WRONG_SCOPE):
        path_of([*HONEST[:2], (replace(ALICE, scope=Scope("/en/healthcare")), PARENT_KEY)])


def test_a_certificate_that_names_another_scope_of_its_parent_is_refused() -> None:
    with refused(Code.WRONG_SCOPE):
        path_of([*HONEST[:2], (replace(ALICE, parent_scope=Scope("/")), PARENT_KEY)])


def test_a_device_has_no_children() -> None:
    below = certificate(BOB_KEY, Role.DEVICE, SCOPE, ALICE_KEY, SCOPE)
    with refused(Code.WRONG_ROLE):
        path_of([*HONEST, (below, ALICE_KEY)])


def test_there_is_no_second_root() -> None:
    with refused(Code.WRONG_ROLE):
        path_of([*HONEST[:2], (replace(ALICE, role=Role.ROOT), PARENT_KEY)])


def test_the_first_of_a_path_is_the_root() -> None:
    with refused(Code.WRONG_ROLE):
        path_of([(replace(ROOT, role=Role.INTERIOR), ROOT_KEY)])


def test_the_root_s_certificate_is_that_of_the_network_s_root() -> None:
    other = replace(ROOT, node=ALICE.node, public_key=ALICE.public_key, parent=ALICE.node)
    with refused(Code.WRONG_NODE):
        path_of([(other, ROOT_KEY)])


def test_a_node_s_id_is_that_of_its_first_key() -> None:
    with refused(Code.WRONG_NODE):
        path_of([*HONEST[:2], (replace(ALICE, node=BOB.node), PARENT_KEY)])


def test_one_key_does_not_stand_twice_in_a_path() -> None:
    own = certificate(PARENT_KEY, Role.DEVICE, SCOPE, PARENT_KEY, SCOPE)
    with refused(Code.DUPLICATE_NODE):
        path_of([*HONEST[:2], (own, PARENT_KEY)])


def test_a_rank_above_the_network_s_is_refused() -> None:
    with refused(Code.WRONG_MASK):
        path_of([*HONEST[:2], (replace(ALICE, mask_rank=NETWORK.rank + 1), PARENT_KEY)])


def test_an_expired_certificate_above_breaks_the_path() -> None:
    expired = replace(PARENT, valid_until_ms=NOW - HOUR // 2)
    with refused(Code.CERTIFICATE_EXPIRED):
        path_of([HONEST[0], (expired, ROOT_KEY), HONEST[2]])


def test_a_certificate_of_tomorrow_is_refused_today() -> None:
    with refused(Code.NOT_YET_VALID):
        path_of(HONEST, now_ms=ALICE.valid_from_ms - HOUR)


def test_clocks_may_differ_by_the_skew() -> None:
    for now_ms in (ALICE.valid_from_ms - 119_000, ALICE.valid_until_ms + 119_000):
        assert path_of(HONEST, now_ms=now_ms) == path_of(HONEST)


def test_a_certificate_for_ever_is_refused() -> None:
    forever = replace(ALICE, valid_until_ms=NOW + 3 * 366 * 24 * HOUR)
    with refused(Code.LIFETIME_TOO_LONG):
        path_of([*HONEST[:2], (forever, PARENT_KEY)])


def test_ids_are_those_of_the_keys() -> None:
    assert (ALICE.node, BOB.node) == (node_of(ALICE_KEY), node_of(BOB_KEY))
