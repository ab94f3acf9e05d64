"""Attack: say again what was said before, or say two things for one task."""

from dataclasses import replace

import numpy as np

from protocol import Code, PayloadFormat, encode_delta, seal
from tests.protocol.world import (
    ALICE,
    ALICE_KEY,
    BOB,
    BOB_KEY,
    DELTA,
    HOUR,
    NOW,
    TASK,
    UPDATE,
    World,
    carrying,
    refused,
)


def test_a_replayed_update_is_refused() -> None:
    world = World()
    world.admit()
    with refused(Code.REPLAYED):
        world.admit()


def test_a_replay_with_another_signature_attached_is_refused() -> None:
    world = World()
    world.admit()
    with refused(Code.MALFORMED):
        world.admit(seal(UPDATE, ALICE_KEY).signed_also_by(BOB_KEY).encode())


def test_a_second_different_update_for_one_task_is_refused() -> None:
    world = World()
    world.admit()
    payload = encode_delta(np.negative(DELTA), PayloadFormat.INT8)
    with refused(Code.REPLAYED):
        world.admit(carrying(payload), payload)


def test_an_update_replayed_into_the_next_round_is_refused() -> None:
    world = World()
    world.tasks = {"8-1-alice": replace(TASK, round=8, task="8-1-alice", nonce=bytes(32))}
    with refused(Code.UNKNOWN_TASK):
        world.admit()


def test_an_update_relabelled_for_the_next_round_needs_its_nonce() -> None:
    world = World()
    world.tasks = {"8-1-alice": replace(TASK, round=8, task="8-1-alice", nonce=bytes(32))}
    with refused(Code.WRONG_NONCE):
        world.admit(replace(UPDATE, round=8, task="8-1-alice"))


def test_another_attempt_s_answer_does_not_pass_for_this_one() -> None:
    world = World()
    world.tasks[TASK.task] = replace(TASK, attempt=2)
    with refused(Code.WRONG_TASK):
        world.admit()


def test_a_member_replaying_another_member_s_update_is_refused() -> None:
    with refused(Code.WRONG_SENDER):
        World().admit(sender=BOB.node)


def test_an_update_replayed_after_it_expired_is_refused() -> None:
    world = World()
    # The certificate outlives the update, so that it is the update that has expired.
    with refused(Code.EXPIRED):
        world.admit(replace(UPDATE, expires_ms=NOW - 180_000, issued_ms=NOW - HOUR))


def test_an_expired_update_is_taken_within_the_skew_of_the_clocks() -> None:
    update = replace(UPDATE, expires_ms=NOW - 100_000, issued_ms=NOW - HOUR)
    assert World().admit(update).update.node == ALICE.node


def test_a_member_answering_another_member_s_task_is_refused() -> None:
    with refused(Code.WRONG_TASK):
        World().admit(replace(UPDATE, node=BOB.node), key=BOB_KEY, sender=BOB.node)
