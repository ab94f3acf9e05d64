"""Training a delta, and measuring."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812  its usual name

from aggregation.replay import Portion
from nodes.model.basis import draw_basis
from nodes.model.effective import EffectiveModel
from nodes.model.learner import TrainingRun, train
from tests.nodes.conftest import TEXTS
from tests.nodes.model.conftest import load

SETTINGS = TrainingRun(steps=30, batch_size=4, learning_rate=5e-2, max_tokens=32, rank=8)


def chain(model: EffectiveModel, size: float = 0.1) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    drawn = np.random.default_rng(2).standard_normal(model.layout.size)
    return (size * drawn).astype(np.float32)


def one_by_one(model: EffectiveModel, text: str) -> tuple[float, int]:
    ids = torch.tensor(model.tokenize([text], 256))
    with torch.inference_mode():
        logits = model.model(input_ids=ids, use_cache=False).logits[0, :-1]
    return F.cross_entropy(logits, ids[0, 1:]).item(), ids.shape[1] - 1


def test_the_loss_falls(model: EffectiveModel) -> None:
    learned = train(model, chain(model), TEXTS, SETTINGS)
    assert np.mean(learned.losses[-5:]) < np.mean(learned.losses[:5]) - 0.1


def test_the_effective_model_is_better_on_what_it_learned(model: EffectiveModel) -> None:
    theta = chain(model)
    model.set_theta(theta)
    before, tokens = model.sequence_losses(TEXTS)
    model.set_theta(theta + train(model, theta, TEXTS, SETTINGS).delta)
    after, _ = model.sequence_losses(TEXTS)
    assert np.average(after, weights=tokens) < np.average(before, weights=tokens)


def test_a_device_of_lower_rank_moves_only_its_first_columns(model: EffectiveModel) -> None:
    learned = train(model, chain(model), TEXTS, replace(SETTINGS, rank=3, steps=3))
    own = model.layout.mask_at(3)
    assert (learned.delta[~own] == 0).all()
    assert (learned.delta[own] != 0).mean() > 0.9


def test_the_same_seed_gives_the_same_delta(base: Path) -> None:
    first, second = (
        train(fresh, chain(fresh), TEXTS, replace(SETTINGS, steps=4)).delta
        for fresh in (load(base), load(base))
    )
    assert first.tobytes() == second.tobytes()


def test_another_seed_gives_another_delta(model: EffectiveModel) -> None:
    first, second = (
        train(model, chain(model), TEXTS, replace(SETTINGS, steps=4, seed=seed)).delta
        for seed in (0, 1)
    )
    assert first.tobytes() != second.tobytes()


def test_training_leaves_the_base_and_the_chain_as_they_were(model: EffectiveModel) -> None:
    model.set_theta(chain(model))
    before = model.logits(TEXTS[0])
    train(model, chain(model), TEXTS, replace(SETTINGS, steps=3))
    np.testing.assert_array_equal(model.logits(TEXTS[0]), before)


def test_packed_losses_are_those_of_each_text_alone(model: EffectiveModel) -> None:
    model.set_theta(chain(model))
    losses, tokens = model.sequence_losses(TEXTS)
    alone = [one_by_one(model, text) for text in TEXTS]
    np.testing.assert_allclose(losses, [loss for loss, _ in alone], atol=1e-5)
    assert tokens.tolist() == [count for _, count in alone]


def test_only_predicted_tokens_are_counted(model: EffectiveModel) -> None:
    settings = replace(SETTINGS, steps=2, batch_size=len(TEXTS))
    _, tokens = model.sequence_losses(TEXTS)
    assert train(model, chain(model), TEXTS, settings).tokens == 2 * tokens.sum()


def test_the_norm_of_a_delta_is_the_one_in_weight_space(model: EffectiveModel) -> None:
    layout = model.layout
    delta = train(model, chain(model), TEXTS, replace(SETTINGS, steps=3)).delta
    basis = draw_basis(layout, 0)
    squares = [
        np.linalg.norm(delta[part].reshape(layer.out, layout.rank) @ basis[layer.name]) ** 2
        for layer, part in layout.parts()
    ]
    np.testing.assert_allclose(np.sqrt(np.sum(squares)), np.linalg.norm(delta), rtol=1e-4)


def test_a_theta_of_another_length_is_refused(model: EffectiveModel) -> None:
    with pytest.raises(ValueError, match="theta has shape"):
        train(model, chain(model)[:-1], TEXTS, SETTINGS)


def test_texts_with_nothing_to_predict_are_refused(model: EffectiveModel) -> None:
    with pytest.raises(ValueError, match="predict"):
        train(model, chain(model), [""], SETTINGS)


def test_old_text_takes_its_share_of_the_tokens_and_no_more(model: EffectiveModel) -> None:
    settings = replace(SETTINGS, steps=8)
    old = {"one": TEXTS[:3], "two": TEXTS[3:5]}
    alone = train(model, chain(model), TEXTS[5:], settings)
    mixed = train(model, chain(model), TEXTS[5:], settings, old=old, portion=Portion(0.25))
    assert mixed.tokens <= 1.1 * alone.tokens
    assert sum(mixed.replayed.values()) == pytest.approx(0.25 * alone.tokens, rel=0.2)
    assert abs(mixed.replayed["one"] - mixed.replayed["two"]) < 40  # within a document or two


def test_old_text_makes_a_run_longer_by_larger_steps(model: EffectiveModel) -> None:
    settings = replace(SETTINGS, steps=8)
    alone = train(model, chain(model), TEXTS[5:], settings)
    longer = train(
        model, chain(model), TEXTS[5:], settings, old={"one": TEXTS[:5]}, portion=Portion(0.4, 1.5)
    )
    assert len(longer.losses) == len(alone.losses)
    assert longer.tokens == pytest.approx(1.5 * alone.tokens, rel=0.1)
    assert longer.replayed["one"] == pytest.approx(0.4 * longer.tokens, rel=0.2)


def test_it_says_which_new_texts_it_read(model: EffectiveModel) -> None:
    few = train(model, chain(model), TEXTS, replace(SETTINGS, steps=1, batch_size=2))
    assert 0 < len(few.seen) < len(TEXTS)
    many = train(model, chain(model), TEXTS, replace(SETTINGS, steps=2 * len(TEXTS), batch_size=1))
    assert many.seen == tuple(range(len(TEXTS)))


def test_without_new_text_it_goes_over_the_old(model: EffectiveModel) -> None:
    learned = train(model, chain(model), [], replace(SETTINGS, steps=2), old={"one": TEXTS})
    assert learned.seen == ()
    assert sum(learned.replayed.values()) == learned.tokens > 0


def test_nothing_to_predict_is_said(model: EffectiveModel) -> None:
    with pytest.raises(ValueError, match="anything to predict"):
        train(model, chain(model), [""], SETTINGS, old={"one": []})
