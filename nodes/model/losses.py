"""The loss of every predicted token, without copies of the logits.

A vocabulary is large: one copy of the logits of 256 tokens takes 50 MB in float32. The usual cross
entropy keeps the log-softmax and makes a gradient beside the logits; here the gradient takes the
place of the logits, and what is computed in float32 is computed a few rows at a time.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

ROWS = 32
"""Tokens whose logits are in float32 at once."""


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute cross entropy of logits (T, vocabulary), any float type, and targets (T,) → (T,)
    float32.

    The backward pass overwrites ``logits``: nobody else may need them, and it can run once.
    """
    return cast(Tensor, _TokenLosses.apply(logits, targets))  # type: ignore[no-untyped-call]


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        rows = [part.float().logsumexp(-1) for part in torch.split(logits, ROWS)]
        normaliser = torch.cat(rows)
        ctx.save_for_backward(logits, targets, normaliser)
        return normaliser - logits.gather(1, targets[:, None])[:, 0].float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logits, targets, normaliser = ctx.saved_tensors
        parts = (torch.split(x, ROWS) for x in (logits, targets, normaliser, gradient))
        for part, target, norm, weight in zip(*parts, strict=True):
            softmax = part.float().sub_(norm[:, None]).exp_()  # in place where it is float32
            softmax[torch.arange(len(target)), target] -= 1
            part.copy_(softmax.mul_(weight[:, None]))
        return logits, None
