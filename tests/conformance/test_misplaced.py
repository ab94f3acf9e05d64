"""Attack: bring an update where it does not belong: another parent, network, model or task."""

from dataclasses import replace
from typing import Any

import pytest

from protocol import Code, PayloadFormat, Scope
from tests.protocol.world import BOB, SCOPE, TASK, UPDATE, World, named, refused


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("network", named("another"), Code.WRONG_NETWORK),
        ("parent", named("another"), Code.WRONG_PARENT),
        ("parent", BOB.node, Code.WRONG_PARENT),
        ("scope", Scope("/es"), Code.WRONG_SCOPE),
        ("scope", Scope("/"), Code.WRONG_SCOPE),
        ("scope", SCOPE.child("healthcare"), Code.WRONG_SCOPE),
        ("base", named("another"), Code.WRONG_BASE),
        ("tokenizer", named("another"), Code.WRONG_TOKENIZER),
        ("basis", named("another"), Code.WRONG_BASIS),
        ("layout", named("another"), Code.WRONG_LAYOUT),
        ("mask_rank", 1, Code.WRONG_MASK),
        ("round", TASK.round + 1, Code.WRONG_TASK),
        ("task", "never-issued", Code.UNKNOWN_TASK),
        ("attempt", 2, Code.WRONG_TASK),
        ("nonce", bytes(32), Code.WRONG_NONCE),
        ("payload_format", PayloadFormat.FLOAT32, Code.WRONG_FORMAT),
        ("key_epoch", 2, Code.WRONG_KEY_EPOCH),
    ],
)
def test_an_update_bound_to_something_else_is_refused(field: str, value: Any, code: Code) -> None:
    with refused(code):
        World().admit(replace(UPDATE, **{field: value}))


def test_a_member_cannot_claim_a_larger_mask_than_its_certificate_says() -> None:
    world = World()
    world.tasks[TASK.task] = replace(TASK, mask_rank=1)
    with refused(Code.WRONG_MASK):
        world.admit(replace(UPDATE, mask_rank=1))


def test_an_update_sent_as_the_answer_to_another_task_is_refused_and_claims_nothing() -> None:
    world = World()
    with refused(Code.WRONG_TASK) as found:
        world.admit(task="8-1-alice")
    assert not found.value.claims
    world.admit(task=TASK.task)


def test_an_old_update_sent_as_the_answer_to_another_task_is_called_a_replay() -> None:
    world = World()
    world.admit(task=TASK.task)
    with refused(Code.REPLAYED):
        world.admit(task="8-1-alice")
