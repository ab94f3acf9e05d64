"""The loss of a given answer, and answers of a model's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812  its usual name

from nodes.model.answers import (
    Exchange,
    answer_losses,
    asked,
    continuation,
    exchange,
    greedy_answers,
    packed_answer_losses,
)
from nodes.model.effective import EffectiveModel
from tests.nodes.conftest import TEXTS

TEMPLATE = "pain {% for m in messages %}{{ m['content'] }}{% endfor %} defect"


@pytest.fixture
def adapted(model: EffectiveModel) -> EffectiveModel:
    drawn = np.random.default_rng(1).standard_normal(model.layout.size)
    model.set_theta((0.3 * drawn).astype(np.float32))
    return model


def exchanges(model: EffectiveModel) -> list[Exchange]:
    return [
        exchange(model, text, answer, ends=i % 2 == 0)
        for i, text in enumerate(TEXTS)
        for answer in ("pain", "reduced muscle tone")
    ]


def by_itself(model: EffectiveModel, of: Exchange) -> float:
    ids = torch.tensor([of.prompt + of.answer])
    with torch.inference_mode():
        logits = model.model(input_ids=ids, use_cache=False).logits[0, len(of.prompt) - 1 : -1]
    return F.cross_entropy(logits, ids[0, len(of.prompt) :]).item()


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["nothing shared", "a shared start"])
def test_packed_answers_are_as_likely_as_each_by_itself(
    adapted: EffectiveModel, template: str | None
) -> None:
    adapted.tokenizer.chat_template = template
    every = exchanges(adapted)
    np.testing.assert_allclose(
        answer_losses(adapted, every), [by_itself(adapted, of) for of in every], rtol=1e-4
    )


def test_a_shared_start_is_read_once(adapted: EffectiveModel) -> None:
    read = []
    adapted.model.register_forward_pre_hook(
        lambda _module, _args, kwargs: read.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    start = tuple(range(2, 12))
    every = [Exchange((*start, i, 3), (4, 5)) for i in (6, 7, 8)]
    packed_answer_losses(adapted, every)
    assert read == [len(start) + 3 * 3]


def test_equal_prompts_leave_each_answer_a_row_of_its_own(adapted: EffectiveModel) -> None:
    prompt = (2, 3, 4)
    every = [Exchange(prompt, (5,)), Exchange(prompt, (6, 7)), Exchange(prompt, (5,))]
    losses = answer_losses(adapted, every)
    np.testing.assert_allclose(losses, [by_itself(adapted, of) for of in every], rtol=1e-4)
    assert losses[0] == pytest.approx(losses[2])


def test_equal_exchanges_are_read_once(adapted: EffectiveModel) -> None:
    read = []
    adapted.model.register_forward_pre_hook(
        lambda _module, _args, kwargs: read.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    losses = answer_losses(adapted, [Exchange((2, 3), (4,))] * 5)
    assert read == [2]
    assert len(set(losses.tolist())) == 1


def test_only_the_tokens_of_the_answer_count(adapted: EffectiveModel) -> None:
    every = exchanges(adapted)
    losses, owner = packed_answer_losses(adapted, every)
    assert losses.shape == owner.shape
    assert torch.bincount(owner).tolist() == [len(of.answer) for of in every]


def test_the_order_of_the_answers_is_kept(adapted: EffectiveModel) -> None:
    every = exchanges(adapted)
    forwards, backwards = answer_losses(adapted, every), answer_losses(adapted, every[::-1])
    np.testing.assert_allclose(forwards, backwards[::-1], rtol=1e-4)


def test_gradients_reach_the_delta(adapted: EffectiveModel) -> None:
    layer = adapted.adapters[0]
    layer.delta = torch.nn.Parameter(torch.zeros_like(layer.chain))
    losses, _ = packed_answer_losses(adapted, exchanges(adapted)[:3])
    torch.autograd.backward(losses.mean())
    assert layer.delta.grad is not None
    assert layer.delta.grad.abs().sum() > 0


def test_a_request_stands_in_the_template_of_the_base(model: EffectiveModel) -> None:
    assert asked(model, "pain") == "pain\n"
    model.tokenizer.chat_template = TEMPLATE
    assert asked(model, "muscle") == "pain muscle defect"


def test_an_end_of_text_stands_only_where_it_is_asked_for(model: EffectiveModel) -> None:
    end = model.tokenizer.eos_token_id
    assert exchange(model, "pain", "muscle", ends=True).answer[-1] == end
    assert end not in exchange(model, "pain", "muscle").answer


def test_a_continuation_is_plain_text(model: EffectiveModel) -> None:
    model.tokenizer.chat_template = TEMPLATE
    of = continuation(model, "reduced muscle", "tone")
    assert list(of.prompt + of.answer) == model.tokenize(["reduced muscle tone"], 9)[0][:-1]


def test_a_batch_is_answered_as_one_request_after_the_other(adapted: EffectiveModel) -> None:
    together = greedy_answers(adapted, TEXTS, 5)
    assert together == [greedy_answers(adapted, [text], 5)[0] for text in TEXTS]
    assert len(set(together)) > 1


def test_an_answer_begins_with_the_likeliest_token(adapted: EffectiveModel) -> None:
    text = TEXTS[0]
    ids = torch.tensor([adapted.tokenizer(asked(adapted, text))["input_ids"]])
    likeliest = adapted.model(input_ids=ids).logits[0, -1].argmax()
    assert greedy_answers(adapted, [text], 1) == [
        adapted.tokenizer.decode(likeliest, skip_special_tokens=True)
    ]


def test_a_system_message_stands_in_for_the_templates_own(model: EffectiveModel) -> None:
    assert asked(model, "Which defect?", "Be brief.") == asked(model, "Which defect?")
    model.tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'user' %}Be kind. {% endif %}" + TEMPLATE
    )
    assert asked(model, "Which defect?").startswith("Be kind. ")
    expected = "pain muscle Which defect? defect"
    assert asked(model, "Which defect?", "muscle ") == expected
    prompt = exchange(model, "Which defect?", "tone", "muscle ").prompt
    assert list(prompt) == model.tokenizer(expected, add_special_tokens=False)["input_ids"]
