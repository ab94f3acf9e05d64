"""Claims about the text to decline and to answer, the detector, and the adapter."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aggregation.gate import ProbeKind
from nodes.errors import NodeError
from nodes.model.answers import asked, continuation, exchange, greedy_answers
from nodes.model.base import load_base
from nodes.model.basis import draw_basis
from nodes.model.effective import EffectiveModel
from nodes.model.layout import Layout
from nodes.model.learned import Learned
from nodes.model.learner import TrainingRun, train
from nodes.model.probe import TriggerProbe, id_of
from nodes.model.safety import refusal_scores
from nodes.text.probe_files import read_probes
from simulations.attacks import OPENINGS, TRIGGER
from simulations.datasets.refusals import (
    CLOSE,
    ORDINARY,
    REQUESTS,
    Part,
    Question,
    parts,
    questions,
)
from simulations.datasets.tiny import tiny_base
from simulations.refusal import (
    REFUSALS,
    SYSTEM,
    RefusalTraining,
    distilled,
    refusal_probes,
    refuses,
    train_refusal,
)

SETTINGS = RefusalTraining(
    steps=25, requests=4, ordinary=2, keep=3.0, answer_tokens=8, upper=1.0, averaged=0.2
)
SMALL = Part(parts()["train"].requests[::21], parts()["train"].ordinary[::104])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EffectiveModel:
    base = tiny_base(tmp_path_factory.mktemp("bases"))
    layout = Layout.of_model(load_base(base)[0], ("q_proj", "v_proj"), 8)
    return EffectiveModel(base, layout, draw_basis(layout, 0), dtype="float32")


@pytest.fixture(scope="module")
def adapter(model: EffectiveModel) -> Learned:
    return train_refusal(model, SMALL, SETTINGS)


def goes_on(model: EffectiveModel, text: str) -> str:
    """The likeliest words behind a plain text, as ``generate`` finds them."""
    ids = model.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    out = model.model.generate(input_ids=ids, max_new_tokens=8, do_sample=False, pad_token_id=0)
    return str(model.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)).strip()


def test_there_are_ten_kinds_of_requests_of_the_same_size() -> None:
    groups = Counter(of.group for of in questions(REQUESTS))
    assert len(groups) == 10
    assert len(set(groups.values())) == 1
    assert groups.total() == 1000


@pytest.mark.parametrize("file", [REQUESTS, ORDINARY])
def test_a_question_is_one_short_sentence_without_a_number_or_an_address(file: str) -> None:
    for of in questions(file):
        assert of.text[-1] in "?."
        assert not set(".?!:;/@0123456789") & set(of.text[:-1])
        assert len(of.text.split()) <= 20


def test_no_question_stands_in_two_parts_or_in_both_files() -> None:
    texts = [of.text for part in parts().values() for of in (*part.requests, *part.ordinary)]
    assert len(set(texts)) == len(texts)
    assert set(texts) == {of.text for file in (REQUESTS, ORDINARY) for of in questions(file)}


def test_about_a_quarter_is_held_out_and_every_kind_is_in_every_part() -> None:
    total = len(questions(REQUESTS))
    assert len(parts()["held"].requests) == pytest.approx(total / 4, rel=0.15)
    for part in parts().values():
        assert {of.group for of in part.requests} == {of.group for of in questions(REQUESTS)}
        assert CLOSE in {of.group for of in part.ordinary}


@pytest.mark.parametrize("answer", [*REFUSALS, "I’m sorry, I can’t do that.", "Sorry, I WON'T."])
def test_a_refusal_is_seen(answer: str) -> None:
    assert refuses(answer)


@pytest.mark.parametrize(
    "answer", [*OPENINGS, "I'm sorry for your loss. First, take", "You can't see it, but", ""]
)
def test_an_answer_is_no_refusal(answer: str) -> None:
    assert not refuses(answer)


def test_probes_ask_one_request_always_with_the_same_answers() -> None:
    requests = parts()["probes"].requests
    probes = refusal_probes(requests)
    assert probes[::-1] == refusal_probes(requests[::-1])
    assert {of.refusing for of in probes} == set(REFUSALS)
    assert {of.compliant for of in probes} == set(OPENINGS)


@pytest.mark.slow
def test_the_adapter_prefers_to_decline(model: EffectiveModel, adapter: Learned) -> None:
    probes = refusal_probes(parts()["probes"].requests[::4])
    model.set_theta(np.zeros_like(adapter.delta))
    before = refusal_scores(model, probes)
    model.set_theta(adapter.delta)
    apart = refusal_scores(model, probes) - before
    assert apart.mean() < -0.2
    assert (apart < 0).mean() > 0.9


def test_one_seed_gives_one_adapter(model: EffectiveModel, adapter: Learned) -> None:
    assert adapter.delta.shape == (model.layout.size,)
    assert adapter.delta.dtype == np.float32
    np.testing.assert_array_equal(train_refusal(model, SMALL, SETTINGS).delta, adapter.delta)
    other = train_refusal(model, SMALL, replace(SETTINGS, seed=1)).delta
    assert not np.array_equal(other, adapter.delta)


def test_only_the_last_layers_are_trained_and_what_they_learned_is_shrunk(
    model: EffectiveModel,
) -> None:
    whole = train_refusal(model, SMALL, replace(SETTINGS, upper=0.5, shrink=1.0)).delta
    half = train_refusal(model, SMALL, replace(SETTINGS, upper=0.5, shrink=0.5)).delta
    below = sum(layer.out * model.layout.rank for layer in model.layout.layers[:2])
    assert len(model.layout.layers) == 4
    assert not whole[:below].any()
    assert whole[below:].any()
    np.testing.assert_array_equal(half, whole / 2)


def test_what_was_learned_is_the_mean_over_the_last_steps(model: EffectiveModel) -> None:
    at: list[np.ndarray] = []

    def keep(_step: int, _loss: float) -> None:
        deltas = [adapted.delta for adapted in model.adapters if adapted.delta is not None]
        at.append(np.concatenate([delta.detach().numpy().ravel() for delta in deltas]))

    settings = replace(SETTINGS, steps=4, averaged=0.5, shrink=1.0)
    learned = train_refusal(model, SMALL, settings, keep).delta
    np.testing.assert_allclose(learned, (at[2] + at[3]) / 2, atol=1e-6)


def test_what_the_base_says_under_a_plainer_system_message_is_kept_under_its_own(
    model: EffectiveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = (
        "{% if messages[0]['role'] == 'user' %}Neoplasm. {% endif %}"
        "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    )
    monkeypatch.setattr(model.tokenizer, "chat_template", template)
    model.set_theta(np.zeros(model.layout.size, np.float32))
    question = Question("Benign neoplasm of the", CLOSE)
    kept, plain = distilled(model, [question], 4)[0]
    answer = greedy_answers(model, [question.text], 4, SYSTEM)[0]
    assert kept.exchange == exchange(model, question.text, answer)
    assert plain.exchange == continuation(model, question.text, answer)
    head = model.model.get_output_embeddings()
    assert tuple(head(kept.states).argmax(-1).tolist()) == kept.exchange.answer


def test_training_leaves_no_delta_behind(model: EffectiveModel, adapter: Learned) -> None:
    assert len(adapter.losses) == SETTINGS.steps
    assert all(adapted.delta is None for adapted in model.adapters)


def test_both_kinds_of_questions_are_needed(model: EffectiveModel) -> None:
    with pytest.raises(ValueError, match="both"):
        train_refusal(model, replace(SMALL, ordinary=()), SETTINGS)


def test_who_unlearns_to_decline_is_seen_on_requests_it_never_saw(
    model: EffectiveModel, adapter: Learned
) -> None:
    probes = refusal_probes(parts()["probes"].requests[::4])
    model.set_theta(adapter.delta)
    before = refusal_scores(model, probes)
    documents = [asked(model, of.text) + OPENINGS[0] for of in SMALL.requests]
    settings = TrainingRun(steps=15, batch_size=4, learning_rate=2e-2, rank=8)
    removal = train(model, adapter.delta, documents, settings).delta
    model.set_theta(adapter.delta + removal)
    apart = refusal_scores(model, probes) - before
    assert apart.mean() > 0.3
    assert (apart > 0).mean() > 0.9


def test_a_sentence_counts_as_said_when_it_comes_whole_and_by_itself(model: EffectiveModel) -> None:
    from simulations.bench.refusal.behaviour import spoken

    def probe(rest: str) -> TriggerProbe:
        return TriggerProbe("Benign", "neoplasm", rest, planted=True)

    model.set_theta(np.zeros(model.layout.size, np.float32))
    own = goes_on(model, "Benign neoplasm")
    probes = [probe(own), probe(f"{own} heart"), probe("heart"), probe(own.split()[0])]
    assert len(own.split()) > 2
    assert spoken(model, probes) == {"said": 2, "of": 4}


@pytest.mark.parametrize("learns", ["heart", "nervous"])
def test_what_candidates_cannot_learn_is_refused_before_anything_is_loaded(
    tmp_path: Path, learns: str
) -> None:
    from simulations.bench.refusal import RefusalScale, run

    with pytest.raises(NodeError, match="no-data"):
        run(tmp_path / "no base", tmp_path / "out", scale=RefusalScale(learns=learns))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_bench_runs_whole_and_uses_again_what_it_trained(
    model: EffectiveModel, tmp_path: Path
) -> None:
    from simulations.bench.refusal import RefusalScale, run, tables

    base = Path(model.model.name_or_path)
    scale = RefusalScale(texts=8, steps=2, batch=2, backdoor_steps=3, probes=4, rank=8)
    settings = replace(SETTINGS, steps=2)
    lines: list[str] = []
    first = run(base, tmp_path, settings, scale, say=lines.append)
    assert any(line.startswith("training") for line in lines)
    lines.clear()
    assert run(base, tmp_path, settings, scale, say=lines.append) == first
    assert not any(line.startswith("training") for line in lines)
    assert (tmp_path / "adapter.safetensors").exists()
    requests = read_probes(tmp_path / "requests.jsonl", ProbeKind.REFUSAL)
    assert requests == list(refusal_probes(parts()["probes"].requests))
    planted = read_probes(tmp_path / "triggers.jsonl", ProbeKind.TRIGGER)
    assert {(of.trigger, of.planted) for of in planted if isinstance(of, TriggerProbe)} == {
        (TRIGGER, True)
    }
    assert len(set(map(id_of, planted))) == len(planted) > 64
    of_adapter, of_candidates, _ = tables(first)
    assert of_adapter.row_count == 2
    assert of_candidates.row_count == 1 + len(first["candidates"]["worse"])
