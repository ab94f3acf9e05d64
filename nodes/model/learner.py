"""Training a delta on top of a chain: only B is trained, in float32, on native bf16 weights.

A device of rank r trains the first r columns of every B; the forward pass uses the whole chain. A
batch is a number of documents packed without padding, so that no time goes into nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nodes.model.effective import EffectiveModel


@dataclass(frozen=True)
class Training:
    """How to train. ``rank`` is the device's r; ``warm_up`` and ``final`` shape the learning rate:
    it rises over that share of the steps, then falls in a line to that share of its height."""

    steps: int = 20
    batch_size: int = 8
    learning_rate: float = 5e-3
    max_tokens: int = 128
    rank: int = 16
    seed: int = 0
    warm_up: float = 0.1
    final: float = 0.1


@dataclass(frozen=True)
class Learned:
    """A delta (d,) float32, zero outside the device's rank, and what it took.

    ``losses`` are the mean losses of each step's batch, nats per token; ``tokens`` were predicted.
    """

    delta: NDArray[np.float32]
    losses: tuple[float, ...]
    tokens: int
    seconds: float


def train(
    model: EffectiveModel,
    theta: NDArray[np.float32],
    texts: Sequence[str],
    settings: Training,
    on_step: Callable[[int, float], None] = lambda _step, _loss: None,
) -> Learned:
    """Train on ``texts`` from the effective model base + ``theta``.

    Deterministic for one seed, one thread count and one machine.
    Raises ``ValueError`` when no text has two tokens.
    """
    documents = [d for d in model.tokenize(texts, settings.max_tokens) if len(d) > 1]
    if not documents:
        raise ValueError("no text has anything to predict")
    model.set_theta(theta)
    started = time.monotonic()
    with _trainable(model, settings.rank) as deltas:
        optimizer = torch.optim.AdamW(deltas, settings.learning_rate, weight_decay=0.0)
        losses, tokens = [], 0
        for step, batch in enumerate(_batches(len(documents), settings)):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _schedule(step, settings)
            of_tokens, _ = model.packed_losses([documents[i] for i in batch])
            loss = of_tokens.mean()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(deltas, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
            tokens += of_tokens.numel()
            on_step(step, losses[-1])
        delta = _flatten(model, deltas)
    return Learned(delta, tuple(losses), tokens, time.monotonic() - started)


class _trainable:  # noqa: N801  reads as the statement it is
    """Within it every adapter has a trainable delta of rank r, which starts at zero."""

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


def _flatten(model: EffectiveModel, deltas: Sequence[nn.Parameter]) -> NDArray[np.float32]:
    full = np.zeros(model.layout.size, np.float32)
    for delta, (layer, part) in zip(deltas, model.layout.parts(), strict=True):
        b = full[part].reshape(layer.out, model.layout.rank)  # a view
        b[:, : delta.shape[1]] = delta.detach().numpy()
    return full


def _batches(count: int, settings: Training) -> Iterator[list[int]]:
    """Batches of documents: every document once before any comes again."""
    rng = np.random.default_rng(settings.seed)
    queue: list[int] = []
    for _ in range(settings.steps):
        while len(queue) < settings.batch_size:
            queue += rng.permutation(count).tolist()
        yield queue[: settings.batch_size]
        del queue[: settings.batch_size]


def _schedule(step: int, settings: Training) -> float:
    """The learning rate at a step, as a share of its height."""
    rising = max(1, round(settings.warm_up * settings.steps))
    if step < rising:
        return (step + 1) / rising
    falling = (step - rising) / max(1, settings.steps - rising)
    return 1 - (1 - settings.final) * falling
