"""Train a delta on top of a chain: only B is trained, in float32, on native bf16 weights.

A device of rank r trains the first r columns of every B; the forward pass uses the whole chain. A
batch is a number of documents packed without padding, so that no time goes into nothing. Old text
is mixed in by tokens (``aggregation.replay.mixture``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aggregation.replay import ONLY_NEW, Drawn, Portion, mixture
from nodes.model.effective import EffectiveModel, packs
from nodes.model.learned import Learned


@dataclass(frozen=True)
class TrainingRun:
    """The settings of a training run.

    ``batch_size`` is the mean number of documents of a step; all steps together read as many tokens
    as ``steps * batch_size`` new documents have on average, more where old text makes a run longer.
    ``rank`` is the device's r; ``warm_up`` and ``final`` shape the learning rate: it rises over
    that share of the steps, then falls in a line to that share of its height.
    """

    steps: int = 20
    batch_size: int = 8
    learning_rate: float = 5e-3
    max_tokens: int = 128
    rank: int = 16
    seed: int = 0
    warm_up: float = 0.1
    final: float = 0.1


def train(
    model: EffectiveModel,
    theta: NDArray[np.float32],
    texts: Sequence[str],
    settings: TrainingRun,
    on_step: Callable[[int, float], None] = lambda _step, _loss: None,
    *,
    old: Mapping[str, Sequence[str]] | None = None,
    portion: Portion = ONLY_NEW,
) -> Learned:
    """Train on ``texts`` from the effective model base + ``theta``.

    Args:
        texts: what to learn; none to go over the old once more.
        old: text that was learned from before, by source.
        portion: how much of the run is old text, and how much longer the run is for it: there are
            as many steps, of more text.

    Deterministic for one seed, one thread count and one machine.
    Raises ``ValueError`` when no text has two tokens.
    """
    batches = _batches(model, texts, old or {}, portion, settings)
    model.set_theta(theta)
    started = time.monotonic()
    with _trainable(model, settings.rank) as deltas:
        optimizer = torch.optim.AdamW(deltas, settings.learning_rate, weight_decay=0.0)
        losses, tokens = [], 0
        for step, batch in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _schedule(step, len(batches), settings)
            loss, predicted = 0.0, sum(drawn.document.predicted for drawn in batch)
            for documents in _passes(model, batch):
                of_tokens, _ = model.packed_losses(documents)
                part = of_tokens.sum() / predicted
                torch.autograd.backward(part)
                loss += part.item()
            nn.utils.clip_grad_norm_(deltas, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss)
            tokens += predicted
            on_step(step, losses[-1])
        delta = _flatten(model, deltas)
    drawn = [one for batch in batches for one in batch]
    replayed = {
        source: sum(one.tokens for one in drawn if one.source == source) for source in old or {}
    }
    seen = tuple(sorted({one.document.place for one in drawn if one.source is None}))
    return Learned(delta, tuple(losses), tokens, time.monotonic() - started, replayed, seen)


@dataclass(frozen=True)
class _Document:
    """A tokenized document and its place among the texts of its source."""

    place: int
    ids: Sequence[int]

    @property
    def predicted(self) -> int:
        return len(self.ids) - 1


class _trainable:  # noqa: N801  reads as the statement it is
    """Give every adapter, within this context, a trainable delta of rank r that starts at zero."""

    def __init__(self, model: EffectiveModel, rank: int) -> None:
        self._model, self._rank = model, rank

    def __enter__(self) -> list[nn.Parameter]:
        deltas = []
        for adapted in self._model.adapters:
            adapted.delta = nn.Parameter(torch.zeros(adapted.chain.shape[0], self._rank))
            deltas.append(adapted.delta)
        return deltas

    def __exit__(self, *_: object) -> None:
        for adapted in self._model.adapters:
            adapted.delta = None


def _passes(model: EffectiveModel, batch: Sequence[Drawn[_Document]]) -> list[list[Sequence[int]]]:
    """Divide a step's documents into passes that the base can take: one, nearly always."""
    documents = [drawn.document.ids for drawn in batch]
    lengths = [len(ids) for ids in documents]
    limit = model.limits.pack_tokens(sum(lengths))
    if sum(lengths) <= limit:
        return [documents]
    return [[documents[i] for i in pack] for pack in packs(lengths, limit)]


def _flatten(model: EffectiveModel, deltas: Sequence[nn.Parameter]) -> NDArray[np.float32]:
    full = np.zeros(model.layout.size, np.float32)
    for delta, (layer, part) in zip(deltas, model.layout.parts(), strict=True):
        b = full[part].reshape(layer.out, model.layout.rank)  # a view
        b[:, : delta.shape[1]] = delta.detach().numpy()
    return full


def _batches(
    model: EffectiveModel,
    texts: Sequence[str],
    old: Mapping[str, Sequence[str]],
    portion: Portion,
    settings: TrainingRun,
) -> list[list[Drawn[_Document]]]:
    """Choose the documents of every step; with fewer documents than steps there are fewer steps."""

    def documents(source_texts: Sequence[str]) -> list[_Document]:
        tokenized = enumerate(model.tokenize(source_texts, settings.max_tokens))
        return [_Document(place, ids) for place, ids in tokenized if len(ids) > 1]

    new = documents(texts)
    known = {source: documents(texts) for source, texts in old.items()}
    lengths = [document.predicted for document in new or chain.from_iterable(known.values())]
    if not lengths:
        raise ValueError("no text has anything to predict")
    reads = settings.steps * settings.batch_size * portion.length
    budget = round(reads * sum(lengths) / len(lengths))
    run = mixture(
        new,
        known,
        lambda document: document.predicted,
        budget=max([budget, *lengths]),
        share=portion.share if new else 1.0,
        seed=settings.seed,
    ).drawn
    steps = min(settings.steps, len(run))
    ends = [len(run) * step // steps for step in range(steps + 1)]
    return [list(run[start:end]) for start, end in pairwise(ends)]


def _schedule(step: int, steps: int, settings: TrainingRun) -> float:
    """Return the learning rate at a step, as a share of its height."""
    rising = max(1, round(settings.warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    falling = (step - rising) / max(1, steps - rising)
    return 1 - (1 - settings.final) * falling
