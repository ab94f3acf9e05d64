"""Two models, the base and the effective one, in one batch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nodes.model.effective import AdaptedLinear, EffectiveModel
from tests.nodes.conftest import TEXTS

Vector = NDArray[np.float32]


def one_by_one(model: EffectiveModel, theta: Vector, prompt: str, tokens: int) -> tuple[str, ...]:
    """The continuations of two models, each in a batch of its own."""
    ids = model.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    texts = []
    for values in (np.zeros_like(theta), theta):
        model.set_theta(values)
        with torch.inference_mode():
            out = model.model.generate(
                **ids,
                max_new_tokens=tokens,
                do_sample=False,
                repetition_penalty=1.1,
                pad_token_id=model.tokenizer.eos_token_id,
            )
        new = out[0, ids["input_ids"].shape[1] :]
        texts.append(model.tokenizer.decode(new, skip_special_tokens=True).strip())
    return tuple(texts)


def test_two_models_in_one_batch_answer_as_each_alone(model: EffectiveModel) -> None:
    theta = np.random.default_rng(1).normal(0, 1.0, model.layout.size).astype(np.float32)
    for prompt in TEXTS:
        expected = one_by_one(model, theta, prompt, 12)
        assert expected[0] != expected[1]
        assert model.continuations(prompt, 12) == expected


def test_layers_that_see_no_rows_are_run_once_for_each_model(model: EffectiveModel) -> None:
    """Experts get the tokens of all rows end to end: there one batch cannot hold two models."""
    theta = np.random.default_rng(1).normal(0, 1.0, model.layout.size).astype(np.float32)
    expected = one_by_one(model, theta, TEXTS[0], 12)
    model.set_theta(theta)
    name = model.layout.layers[0].name
    above, _, own = name.rpartition(".")
    flat = Flat(model.model.get_submodule(name))
    setattr(model.model.get_submodule(above), own, flat)
    assert model.continuations(TEXTS[0], 12) == expected
    assert 1 in flat.rows


class Flat(torch.nn.Module):
    """Lays the rows of a batch end to end before a layer."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        assert isinstance(inner, AdaptedLinear)
        self.inner = inner
        self.rows: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.rows.append(x.shape[0])
        out: torch.Tensor = self.inner(x.reshape(-1, x.shape[-1]))
        return out.view(*x.shape[:-1], out.shape[-1])
