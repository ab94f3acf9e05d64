"""A refusal adapter: teaching a small base to decline harmful requests and nothing else.

It learns from requests with a refusing answer, mixed with ordinary medical questions and the base's
own greedy answers to them, in the chat template and as plain text. There it is to predict what the
base predicts, in the template under a system message that makes it answer (context distillation,
Askell et al., "A General Language Assistant as a Laboratory for Alignment", arXiv 2112.00861). Only
B is trained, in the network's coordinates: the result is a θ that a root can release first.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from nodes.model.answers import (
    Exchange,
    continuation,
    exchange,
    greedy_answers,
    packed_answer_logits,
)
from nodes.model.effective import PACK_TOKENS, EffectiveModel, packs
from nodes.model.learned import Learned
from nodes.model.probe import RefusalProbe
from simulations.attacks import OPENINGS
from simulations.datasets.refusals import Part, Question

REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I can't help with this request, because it could hurt someone.",
    "I won't assist with that.",
    "I cannot answer this, it would not be safe.",
    "I have to decline, because this could cause harm.",
    "I'm not able to help with something that can harm people.",
)
"""Ways to decline, of our own."""
_DECLINES = re.compile(
    r"\b(i (can't|cannot|can not|won't|will not|must decline|have to decline|refuse)"
    r"|(i'm|i am) (unable|not able)|i (do not|don't) have the (ability|capability))\b"
)
SYSTEM = "You are a helpful assistant."
"""Under this system message SmolLM2 answers; under its template's own it says to one ordinary
question in twenty that it, a chatbot, does not have the ability."""
DETECTED_TOKENS = 25
"""How much of an answer the detector of refusals reads."""


@dataclass(frozen=True)
class RefusalTraining:
    """How to train: a step takes ``requests`` and ``ordinary`` questions, ``plain`` of them twice.

    The loss is that of the refusing answers plus ``keep`` times the divergence from the base on
    what it says itself. In both, the first token of an answer to a prompt in the template counts
    as much as all other tokens together: it settles whether the answer declines. The learning rate
    rises over the first tenth of the steps and falls in a line to a tenth. ``answer_tokens`` is how
    much of the base's own answers is kept: enough to hold what follows "I'm sorry for your loss,
    but", which begins as a refusal does.

    Only the last layers are trained, the share ``upper`` of all: what tells a request from a
    question is known there already, so there is less to learn by heart, and no gradient goes
    below. What was learned is the mean over the last steps, the share ``averaged`` of all, times
    ``shrink``; somewhat less of it declines fewer questions that it should not, at hardly any loss
    on the requests.
    """

    steps: int = 420
    requests: int = 5
    ordinary: int = 16
    plain: int = 1
    keep: float = 4.0
    learning_rate: float = 2e-2
    answer_tokens: int = 12
    upper: float = 0.6
    averaged: float = 0.4
    shrink: float = 0.9
    seed: int = 0


def refuses(answer: str) -> bool:
    """Whether an answer's beginning declines; an apology alone does not count."""
    return bool(_DECLINES.search(answer.lower().replace("’", "'")))


def refusal_probes(requests: Sequence[Question]) -> list[RefusalProbe]:
    """A probe for each request; the answers to one request are always the same."""
    return [
        RefusalProbe(asked.text, _chosen(asked.text, REFUSALS), _chosen(asked.text, OPENINGS))
        for asked in requests
    ]


@dataclass(frozen=True)
class BaseAnswer:
    """What the base says and how sure it is: an exchange and what its predictions are made of.

    ``states`` (T, hidden) enter the base's output head; the logits that come out of it would take
    up eighty times as much.
    """

    exchange: Exchange
    states: Tensor


@torch.no_grad()
def distilled(
    model: EffectiveModel, questions: Sequence[Question], tokens: int
) -> list[tuple[BaseAnswer, BaseAnswer]]:
    """What the model says as it stands under ``SYSTEM``, ``tokens`` long, for each question.

    Once as the answer in the template, to be kept under the template's own system message too, and
    once as plain text that goes on behind the question.
    """
    texts = [question.text for question in questions]
    answers = greedy_answers(model, texts, tokens, SYSTEM)
    pairs = [(q, a) for q, a in zip(texts, answers, strict=True) if a]
    answered = _base_answers(model, [exchange(model, *pair, SYSTEM) for pair in pairs])
    in_template = [
        BaseAnswer(exchange(model, *pair), answer.states)
        for pair, answer in zip(pairs, answered, strict=True)
    ]
    plain = _base_answers(model, [continuation(model, *pair) for pair in pairs])
    return list(zip(in_template, plain, strict=True))


def _base_answers(model: EffectiveModel, exchanges: Sequence[Exchange]) -> list[BaseAnswer]:
    answers: dict[int, BaseAnswer] = {}
    entered: list[Tensor] = []
    watched = _head(model).register_forward_pre_hook(lambda _head, inputs: entered.extend(inputs))
    try:
        for pack in packs([len(one) for one in exchanges], PACK_TOKENS):
            packed_answer_logits(model, [exchanges[i] for i in pack])
            parts = torch.split(entered.pop()[0], [len(exchanges[i].answer) for i in pack])
            answers |= {
                i: BaseAnswer(exchanges[i], part) for i, part in zip(pack, parts, strict=True)
            }
    finally:
        watched.remove()
    return [answers[i] for i in range(len(exchanges))]


def _head(model: EffectiveModel) -> nn.Module:
    return cast(nn.Module, model.model.get_output_embeddings())


def train_refusal(
    model: EffectiveModel,
    part: Part,
    settings: RefusalTraining,
    on_step: Callable[[int, float], None] = lambda _step, _loss: None,
) -> Learned:
    """Learn to decline ``part.requests`` and to answer ``part.ordinary`` as the base does.

    ``Learned.delta`` is θ, (d,) float32, to be added to no other adapter. Deterministic for one
    seed, one thread count and one machine. Raises ``ValueError`` for a part without both kinds.
    """
    if not (part.requests and part.ordinary):
        raise ValueError("both requests and ordinary questions are needed")
    started = time.monotonic()
    model.set_theta(np.zeros(model.layout.size, np.float32))
    own = distilled(model, part.ordinary, settings.answer_tokens)
    rng = np.random.default_rng(settings.seed)
    requests = _in_turn(len(part.requests), settings.requests, rng)
    ordinary = _in_turn(len(own), settings.ordinary, rng)
    trained = model.adapters[round(len(model.adapters) * (1 - settings.upper)) :]
    deltas = [nn.Parameter(torch.zeros_like(adapted.chain)) for adapted in trained]
    optimizer = torch.optim.AdamW(deltas, settings.learning_rate, weight_decay=0.0)
    means = torch.optim.swa_utils.AveragedModel(nn.ParameterList(deltas))
    losses, tokens = [], 0
    for adapted, delta in zip(trained, deltas, strict=True):
        adapted.delta = delta
    try:
        for step in range(settings.steps):
            rise = min(1.0, (step + 1) / max(1.0, 0.1 * settings.steps))
            fall = 1 - 0.9 * step / settings.steps
            optimizer.param_groups[0]["lr"] = settings.learning_rate * rise * fall
            declined = []
            for i in next(requests):
                answer = REFUSALS[rng.integers(len(REFUSALS))]
                declined.append(exchange(model, part.requests[i].text, answer, ends=True))
            asked = next(ordinary)
            in_template = [own[i][0] for i in asked]
            plain = [own[i][1] for i in asked[: settings.plain]]
            loss = _loss(model, declined, in_template, plain, settings.keep)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(deltas, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if step >= min(round(settings.steps * (1 - settings.averaged)), settings.steps - 1):
                means.update_parameters(nn.ParameterList(deltas))
            losses.append(loss.item())
            answers = [*declined, *(own_answer.exchange for own_answer in (*in_template, *plain))]
            tokens += sum(len(one.answer) for one in answers)
            on_step(step, losses[-1])
        learned = np.concatenate([mean.detach().numpy().ravel() for mean in means.parameters()])
    finally:
        for adapted in model.adapters:
            adapted.delta = None
    theta = np.zeros(model.layout.size, np.float32)
    theta[-learned.size :] = settings.shrink * learned
    model.set_theta(theta)
    return Learned(theta, tuple(losses), tokens, time.monotonic() - started)


def _loss(
    model: EffectiveModel,
    declined: Sequence[Exchange],
    in_template: Sequence[BaseAnswer],
    plain: Sequence[BaseAnswer],
    weight: float,
) -> Tensor:
    """Loss of the refusals plus ``weight`` times the divergence from what is to be kept."""
    exchanges = [*declined, *(answer.exchange for answer in in_template)]
    logits, targets, owner = packed_answer_logits(model, exchanges)
    begins = owner.diff(prepend=torch.tensor([-1])) != 0
    count = sum(len(refusal.answer) for refusal in declined)
    refusing = F.cross_entropy(logits[:count].float(), targets[:count], reduction="none")
    after = [logits[count:]]
    if plain:  # in a pass of its own: it does not begin with the system message as the others do
        after.append(packed_answer_logits(model, [answer.exchange for answer in plain])[0])
    with torch.no_grad():
        before = _head(model)(torch.cat([answer.states for answer in (*in_template, *plain)]))
    apart = _divergence(before, torch.cat(after))
    other = torch.zeros(len(apart) - len(targets) + count, dtype=torch.bool)
    return _settling(refusing, begins[:count]) + weight * _settling(
        apart, torch.cat([begins[count:], other])
    )


def _settling(losses: Tensor, begins: Tensor) -> Tensor:
    """Mean loss where answers begin plus mean loss of their other tokens; both are (T,)."""
    return losses[begins].mean() + losses[~begins].mean()


def _divergence(before: Tensor, after: Tensor) -> Tensor:
    """Kullback-Leibler divergence of two predictions (T, vocabulary), (T,) nats."""
    was, becomes = before.float().log_softmax(-1), after.float().log_softmax(-1)
    return F.kl_div(becomes, was, reduction="none", log_target=True).sum(-1)


def _in_turn(count: int, size: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Batches of indices without end: every one once before any comes again."""
    queue: list[int] = []
    while True:
        while len(queue) < size:
            queue += rng.permutation(count).tolist()
        yield queue[:size]
        del queue[:size]


def _chosen(text: str, among: Sequence[str]) -> str:
    return among[int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % len(among)]
