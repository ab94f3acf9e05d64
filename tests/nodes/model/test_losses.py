"""The loss of every token is the usual cross entropy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from nodes.model.losses import ROWS, token_losses


def drawn(dtype: torch.dtype, count: int = 2 * ROWS + 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(count, 50, generator=generator) * 5).to(dtype)
    targets = torch.randint(50, (count,), generator=generator)
    return logits, targets, torch.rand(count, generator=generator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_losses_are_the_cross_entropy_in_float32(dtype: torch.dtype) -> None:
    logits, targets, _ = drawn(dtype)
    expected = F.cross_entropy(logits.float(), targets, reduction="none")
    torch.testing.assert_close(token_losses(logits, targets), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_is_that_of_the_cross_entropy(dtype: torch.dtype) -> None:
    logits, targets, weights = drawn(dtype)
    usual = logits.clone().requires_grad_()
    torch.autograd.backward(
        F.cross_entropy(usual.float(), targets, reduction="none"), grad_tensors=weights
    )
    ours = logits.clone().requires_grad_()
    # Through a product, because the logits themselves are overwritten.
    torch.autograd.backward(token_losses(ours * 1, targets), grad_tensors=weights)
    assert usual.grad is not None
    torch.testing.assert_close(ours.grad, usual.grad)
