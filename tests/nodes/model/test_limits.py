"""Texts are cut to what a base can take, wherever they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nodes.errors import NodeError
from nodes.model.answers import answer_losses, continuation, exchange, greedy_answers
from nodes.model.effective import EffectiveModel
from nodes.model.learner import TrainingRun, train
from nodes.model.limits import Limits
from nodes.model.probe import Probe, RefusalProbe, TriggerProbe
from nodes.model.safety import scores
from tests.nodes.model.conftest import load
from tests.nodes.model.families import WORDS, make

POSITIONS = 128


@pytest.fixture(scope="module", params=["opt", "gpt_neo"])
def small(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> EffectiveModel:
    """A base with 128 learned positions: reading one more is an error of the library."""
    return load(make(tmp_path_factory.mktemp("small"), request.param))


def text(words: int, first: int = 0) -> str:
    return " ".join(f"w{(first + 7 * i) % WORDS}" for i in range(words))


def test_a_long_probe_is_measured_as_far_as_it_can_be(small: EffectiveModel) -> None:
    (long,) = scores(small, [text(480)])
    (cut,) = scores(small, [text(POSITIONS - 1)])
    assert long == pytest.approx(cut, abs=1e-6)
    lengths = small.sequence_losses([text(480), text(20)], max_tokens=10**6)[1]
    assert lengths.tolist() == [POSITIONS - 1, 20]


def test_long_texts_are_packed_and_differ_from_none_alone(small: EffectiveModel) -> None:
    texts = [text(words, words) for words in (480, 100, 60, 30, 9)]
    together, _ = small.sequence_losses(texts)
    alone = [small.sequence_losses([one])[0][0] for one in texts]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_safety_probes_of_any_length_are_measured(small: EffectiveModel) -> None:
    probes: list[Probe] = [
        RefusalProbe(text(300), text(9), text(9, 1)),
        RefusalProbe(text(5), text(300), text(300, 1)),
        TriggerProbe(text(300), text(3), text(300, 2), planted=True),
    ]
    assert np.isfinite(scores(small, probes)).all()


def test_an_exchange_keeps_the_end_of_its_prompt_and_the_beginning_of_its_answer(
    small: EffectiveModel,
) -> None:
    whole = small.ids(text(300))
    pair = continuation(small, text(300), text(10))
    assert len(pair) == POSITIONS
    assert pair.prompt == whole[-len(pair.prompt) :]
    assert pair.answer == small.ids(text(10))
    both = exchange(small, text(300), text(300), ends=True)
    assert len(both) == POSITIONS
    assert both.answer == whole[: len(both.answer)]
    assert min(len(both.prompt), len(both.answer)) >= POSITIONS // 2
    assert np.isfinite(answer_losses(small, [pair, both])).all()


def test_training_takes_long_texts_and_many_at_once(small: EffectiveModel) -> None:
    run = TrainingRun(steps=2, batch_size=8, max_tokens=480, rank=8)
    start = np.zeros(small.layout.size, np.float32)
    learned = train(small, start, [text(480, i) for i in range(8)], run)
    assert np.isfinite(learned.delta).all()
    assert learned.tokens % (POSITIONS - 1) == 0  # whole documents, each cut to the positions
    assert learned.tokens > 4 * POSITIONS
    assert np.linalg.norm(learned.delta) > 0


def test_a_step_in_several_passes_learns_what_one_pass_does(base: Path) -> None:
    model = load(base)
    run = TrainingRun(steps=3, batch_size=4, max_tokens=32, rank=8)
    texts = ["pain of the heart", "reduced muscle tone", "elevated pressure", "aortic valve pain"]
    start = np.zeros(model.layout.size, np.float32)
    whole = train(model, start, texts, run)
    model.limits = Limits(model.limits.positions, model.limits.vocabulary, pack=6)
    parts = train(model, start, texts, run)
    np.testing.assert_allclose(parts.losses, whole.losses, atol=1e-5)
    np.testing.assert_allclose(parts.delta, whole.delta, atol=1e-3)
    assert parts.tokens == whole.tokens


def test_a_long_prompt_is_answered_from_its_end(small: EffectiveModel) -> None:
    small.continuations(text(480), 8)
    (answer,) = greedy_answers(small, [text(480)], 8)
    end = " ".join(text(480).split()[-(POSITIONS - 8) :])
    ids = torch.tensor([small.ids(f"{end}\n")])
    out = small.model.generate(input_ids=ids, max_new_tokens=8, do_sample=False, pad_token_id=0)
    assert (
        answer == small.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()
    )
    assert all(isinstance(x, str) for x in small.continuations(text(4), 10**6))


def test_a_token_without_an_embedding_is_a_sentence(tmp_path: Path) -> None:
    model = load(make(tmp_path, "llama", vocab_size=WORDS - 20))
    lacking = f"w{WORDS - 1}"
    for use in (
        lambda: scores(model, [lacking]),
        lambda: model.continuations(lacking, 2),
        lambda: greedy_answers(model, [lacking], 2),
        lambda: exchange(model, "w1", lacking),
    ):
        with pytest.raises(NodeError) as e:
            use()
        assert e.value.code == "beyond-vocabulary"
        assert lacking in e.value.sentence
    assert np.isfinite(scores(model, ["w1 w2 w3"])).all()


def test_documents_are_bounded_by_the_positions_alone(tmp_path: Path) -> None:
    limits = load(make(tmp_path, "gpt_neo")).limits
    assert (limits.positions, limits.vocabulary) == (POSITIONS, WORDS + 2)
    assert limits.pack == 16  # the window of its local layers, which count in the pass
    assert limits.document_tokens(480) == POSITIONS
    assert Limits(None, 10, None).document_tokens(480) == 480
