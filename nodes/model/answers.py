"""Answers to requests: the likelihood of a given one, and the model's own.

Only the tokens of the answer count, not those of the request. Several answers are measured in one
pass without padding; what their prompts begin with in common, such as a system message, is computed
once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nodes.model.effective import PACK_TOKENS, EffectiveModel, packs
from nodes.model.losses import token_losses

GENERATED_TOKENS = 2048
"""Tokens of the prompts that are answered at once."""


@dataclass(frozen=True)
class Exchange:
    """A prompt and an answer to it as token ids; neither is empty."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        """Count the tokens that a model reads to predict the whole answer."""
        return len(self.prompt) + len(self.answer) - 1


def asked(model: EffectiveModel, request: str, system: str | None = None) -> str:
    """Put a request into the base's chat template, up to where the answer begins.

    ``system`` stands in for the template's own system message. A base without a template gets the
    request and a line break.
    """
    if model.tokenizer.chat_template is None:
        return f"{request}\n"
    messages = [{"role": "user", "content": request}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return str(
        model.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    )


def exchange(
    model: EffectiveModel,
    request: str,
    answer: str,
    system: str | None = None,
    *,
    ends: bool = False,
) -> Exchange:
    """Put a request and an answer into the chat template; ``ends`` adds an end of text."""
    end = (model.tokenizer.eos_token_id,) if ends else ()
    return _cut(model, asked(model, request, system), model.ids(answer) + end)


def continuation(model: EffectiveModel, text: str, rest: str) -> Exchange:
    """Make an exchange of a plain text, without the template, and its continuation after a
    space."""
    return _cut(model, text, model.ids(f" {rest}"))


def packed_answer_logits(
    model: EffectiveModel, exchanges: Sequence[Exchange]
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the logits that predict each token of the answers, one exchange after the other.

    Each is given its own prompt and what stands before it in its answer. Returns the logits
    (T, vocabulary), the tokens of the answers (T,), and to which exchange each belongs (T,).
    """
    prompts = [
        pair.prompt[:-1] for pair in exchanges
    ]  # each answer is predicted from a row of its own
    shared = _common(min(prompts), max(prompts))
    ids, owners, positions = list(prompts[0][:shared]), [-1] * shared, list(range(shared))
    predicts: list[int] = []
    for i, pair in enumerate(exchanges):
        read = (pair.prompt + pair.answer)[shared:-1]
        first = len(ids) + len(pair.prompt) - shared - 1
        predicts += range(first, first + len(pair.answer))
        ids += read
        owners += [i] * len(read)
        positions += range(shared, shared + len(read))
    owner = torch.tensor(owners)
    sees = ((owner[:, None] == owner[None, :]) | (owner[None, :] == -1)).tril()
    rows = torch.tensor(predicts)
    logits = model.model(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([positions]),
        attention_mask=model.attention(sees, torch.tensor(positions)),
        use_cache=False,
        logits_to_keep=rows,
    ).logits.squeeze(0)
    targets = torch.tensor([token for pair in exchanges for token in pair.answer])
    return logits, targets, owner[rows]


def packed_answer_losses(
    model: EffectiveModel, exchanges: Sequence[Exchange]
) -> tuple[Tensor, Tensor]:
    """Compute the losses of all answer tokens, (T,) float32, nats, and each one's exchange,
    (T,)."""
    logits, targets, owner = packed_answer_logits(model, exchanges)
    return token_losses(logits, targets), owner


@torch.inference_mode()
def answer_losses(model: EffectiveModel, exchanges: Sequence[Exchange]) -> NDArray[np.float64]:
    """Compute each answer's mean loss given its prompt, (n,) nats per token; equal ones once."""
    different = {pair: i for i, pair in enumerate(dict.fromkeys(exchanges))}
    unique = list(different)
    total = np.zeros(len(unique))
    limit = model.limits.pack_tokens(PACK_TOKENS)
    for pack in packs([len(pair) for pair in unique], limit):
        losses, owner = packed_answer_losses(model, [unique[i] for i in pack])
        np.add.at(total, np.asarray(pack)[owner.numpy()], losses.numpy().astype(np.float64))
    means = total / [len(pair.answer) for pair in unique]
    return means[[different[pair] for pair in exchanges]]


@torch.inference_mode()
def greedy_answers(
    model: EffectiveModel, requests: Sequence[str], tokens: int, system: str | None = None
) -> list[str]:
    """Let the model answer each request greedily, in at most ``tokens`` tokens.

    ``system`` as in ``asked``.
    """
    cut = [
        model.limits.request(model.ids(asked(model, request, system)), tokens)
        for request in requests
    ]
    prompts = [prompt for prompt, _ in cut]
    tokens = min((new for _, new in cut), default=tokens)
    pad = model.tokenizer.eos_token_id
    answers = [""] * len(prompts)
    for pack in packs([len(prompt) for prompt in prompts], GENERATED_TOKENS):
        width = max(len(prompts[i]) for i in pack)
        # Padding stands before the prompts, so that all answers begin in one column.
        before = [width - len(prompts[i]) for i in pack]
        out = model.model.generate(
            input_ids=torch.tensor(
                [[pad] * gap + [*prompts[i]] for gap, i in zip(before, pack, strict=True)]
            ),
            attention_mask=torch.tensor([[0] * gap + [1] * (width - gap) for gap in before]),
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=pad,
        )
        for i, row in zip(pack, out[:, width:], strict=True):
            answers[i] = str(model.tokenizer.decode(row, skip_special_tokens=True)).strip()
    return answers


def _common(one: Sequence[int], two: Sequence[int]) -> int:
    """Count the tokens with which both sequences begin."""
    pairs = enumerate(zip(one, two, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(two)))


def _cut(model: EffectiveModel, prompt: str, answer: tuple[int, ...]) -> Exchange:
    """Make an exchange that fits the base's positions."""
    return Exchange(*model.limits.exchange(model.ids(prompt), answer))
