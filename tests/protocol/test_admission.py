"""Admission: honest answers pass, every check has its code, and cheap checks come first."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from protocol import (
    Code,
    NodeId,
    PayloadFormat,
    Refused,
    Role,
    encode_delta,
    seal,
)
from tests.protocol.world import (
    ABSTENTION,
    ALICE,
    ALICE_KEY,
    BOB,
    BOB_KEY,
    DELTA,
    NOW,
    PARENT_KEY,
    PAYLOAD,
    RANK,
    SCOPE,
    STRANGER_KEY,
    TASK,
    UPDATE,
    VERSION,
    World,
    carrying,
    certificate,
    known_key,
    named,
    refused,
    size_at,
)


def test_an_honest_update_is_admitted() -> None:
    admitted = World().admit()
    assert admitted.update == UPDATE
    assert admitted.digest == seal(UPDATE, ALICE_KEY).digest
    assert (admitted.staleness, admitted.scale, admitted.weight) == (0, 1.0, 1.0)
    np.testing.assert_allclose(admitted.values, DELTA, atol=np.abs(DELTA).max() / 250)


def test_an_update_is_admitted_by_its_signature_where_the_transport_says_nothing() -> None:
    assert World().admit(sender=None).update.node == ALICE.node


def test_a_float32_update_is_admitted_bit_for_bit() -> None:
    world = World()
    world.tasks[TASK.task] = replace(TASK, payload_format=PayloadFormat.FLOAT32)
    payload = encode_delta(DELTA, PayloadFormat.FLOAT32)
    update = carrying(payload, payload_format=PayloadFormat.FLOAT32)
    assert world.admit(update, payload).values.tobytes() == DELTA.tobytes()


def test_a_device_of_lower_rank_sends_its_part_of_the_coordinates() -> None:
    world, low = World(), RANK - 2
    small = certificate(
        STRANGER_KEY, Role.DEVICE, SCOPE, PARENT_KEY, SCOPE, mask_rank=low, quota=0.25
    )
    world.enrol(seal(small, PARENT_KEY))
    world.tasks[TASK.task] = replace(TASK, child=small.node, mask_rank=low)
    payload = encode_delta(DELTA[: size_at(low)], PayloadFormat.INT8)
    update = carrying(payload, node=small.node, mask_rank=low)
    admitted = world.admit(update, payload, key=STRANGER_KEY, sender=small.node)
    assert admitted.values.shape == (size_at(low),)
    assert admitted.weight == 0.25


@pytest.mark.parametrize("staleness", range(6))
def test_a_late_update_is_scaled_by_its_staleness(staleness: int) -> None:
    admitted = World().admit(version=VERSION + staleness)
    assert admitted.staleness == staleness
    assert admitted.scale == pytest.approx((1 + staleness) ** -0.5)


def test_releases_that_do_not_age_an_update_are_the_caller_s_to_say() -> None:
    assert World().admit(version=VERSION + 100, age=lambda started: 1).staleness == 1


def test_what_a_child_says_of_its_samples_gives_it_no_weight() -> None:
    assert World().admit(replace(UPDATE, samples=2**50, contributors=2**50)).weight == 1.0


def test_an_honest_abstention_is_admitted() -> None:
    admission = World().admission
    envelope = seal(ABSTENTION, ALICE_KEY).encode()
    assert admission.admit_abstention(envelope, sender=ALICE.node, now_ms=NOW) == ABSTENTION


def test_an_abstention_passes_the_same_cheap_checks() -> None:
    world = World()
    cases = {
        Code.WRONG_SENDER: seal(ABSTENTION, BOB_KEY),
        Code.WRONG_NODE: seal(replace(ABSTENTION, node=BOB.node), ALICE_KEY),
        Code.UNKNOWN_TYPE: seal(UPDATE, ALICE_KEY),
        Code.WRONG_PARENT: seal(replace(ABSTENTION, parent=BOB.node), ALICE_KEY),
        Code.WRONG_NONCE: seal(replace(ABSTENTION, nonce=bytes(32)), ALICE_KEY),
        Code.CLOCK_SKEW: seal(replace(ABSTENTION, issued_ms=NOW + 200_000), ALICE_KEY),
    }
    for code, envelope in cases.items():
        with refused(code):
            world.admission.admit_abstention(envelope.encode(), sender=ALICE.node, now_ms=NOW)


def test_who_answered_cannot_abstain_afterwards() -> None:
    world = World()
    world.admit()
    with refused(Code.REPLAYED):
        world.admission.admit_abstention(
            seal(ABSTENTION, ALICE_KEY).encode(), sender=ALICE.node, now_ms=NOW
        )


# Cheap checks first: of two things that are wrong, the earlier one is named.

OTHER = known_key(6)

FAULTS_IN_ORDER: list[tuple[Code, dict[str, Any]]] = [
    (Code.TOO_LARGE, {"update": b"\0" * 20_000}),
    (Code.MALFORMED, {"update": b"\xff"}),
    (Code.UNKNOWN_TYPE, {"update": seal(ABSTENTION, ALICE_KEY).encode()}),
    (Code.NOT_A_MEMBER, {"sender": NodeId(named("nobody"))}),
    (Code.UNKNOWN_KEY, {"key": OTHER}),
    (Code.WRONG_NODE, {"said": {"node": BOB.node}}),
    (Code.WRONG_KEY_EPOCH, {"said": {"key_epoch": 2}}),
    (Code.WRONG_NETWORK, {"said": {"network": named("x")}}),
    (Code.WRONG_PARENT, {"said": {"parent": named("x")}}),
    (Code.WRONG_SCOPE, {"said": {"scope": SCOPE.child("x")}}),
    (Code.UNKNOWN_TASK, {"said": {"task": "x"}}),
    (Code.WRONG_TASK, {"said": {"round": TASK.round + 1}}),
    (Code.WRONG_NONCE, {"said": {"nonce": bytes(32)}}),
    (Code.WRONG_BASE, {"said": {"base": named("x")}}),
    (Code.WRONG_BASIS, {"said": {"basis": named("x")}}),
    (Code.WRONG_TOKENIZER, {"said": {"tokenizer": named("x")}}),
    (Code.WRONG_LAYOUT, {"said": {"layout": named("x")}}),
    (Code.WRONG_MASK, {"said": {"mask_rank": 1}}),
    (Code.WRONG_FORMAT, {"said": {"payload_format": PayloadFormat.FLOAT32}}),
    (Code.FUTURE_VERSION, {"said": {"version": VERSION + 1}}),
    (Code.CLOCK_SKEW, {"said": {"issued_ms": NOW + 180_000}}),
    (Code.LIFETIME_TOO_LONG, {"said": {"expires_ms": NOW + 2 * 86_400_000}}),
    (Code.WRONG_LENGTH, {"said": {"length": 1}}),
    (Code.WRONG_DIGEST, {"said": {"payload": named("x")}}),
]


def admit_with(*faults: dict[str, Any]) -> None:
    said: dict[str, Any] = {}
    call: dict[str, Any] = {}
    for fault in faults:
        said |= fault.get("said", {})
        call |= {name: value for name, value in fault.items() if name != "said"}
    World().admit(**{"update": replace(UPDATE, **said), **call})


@pytest.mark.parametrize(("code", "fault"), FAULTS_IN_ORDER, ids=lambda v: str(v)[:20])
def test_every_fault_has_its_code(code: Code, fault: dict[str, Any]) -> None:
    with refused(code):
        admit_with(fault)


@pytest.mark.parametrize("at", range(len(FAULTS_IN_ORDER) - 1))
def test_of_two_faults_the_earlier_check_speaks(at: int) -> None:
    code, fault = FAULTS_IN_ORDER[at]
    later = FAULTS_IN_ORDER[at + 1][1]
    with refused(code):
        admit_with(later, fault)


def test_only_a_refusal_after_the_replay_check_spends_the_claim() -> None:
    spent = {}
    for code, fault in FAULTS_IN_ORDER:
        with pytest.raises(Refused) as raised:
            admit_with(fault)
        spent[code] = raised.value.claims
    payload_codes = {Code.WRONG_LENGTH, Code.WRONG_DIGEST}
    assert {code for code, claims in spent.items() if claims} == payload_codes


def test_a_replay_spends_no_claim() -> None:
    world = World()
    world.admit()
    with pytest.raises(Refused) as raised:
        world.admit()
    assert not raised.value.claims


def test_an_answer_has_one_signature() -> None:
    twice = seal(UPDATE, ALICE_KEY).signed_also_by(BOB_KEY).encode()
    with refused(Code.MALFORMED):
        World().admit(twice)


def test_a_refused_update_leaves_the_round_open_for_the_honest_one() -> None:
    world = World()
    with refused(Code.WRONG_NONCE):
        world.admit(replace(UPDATE, nonce=bytes(32)))
    assert world.admit(UPDATE, PAYLOAD).staleness == 0
