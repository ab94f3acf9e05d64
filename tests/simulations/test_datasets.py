"""Claims about the text and the tiny base that the demo stands on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from aggregation import AggregationError
from nodes.errors import NodeError
from nodes.model.basis import draw_basis
from nodes.model.digest import describe_base
from nodes.model.layout import Layout
from simulations.datasets import tiny
from simulations.datasets.hpo import SYSTEMS, definitions
from simulations.datasets.icd10 import names
from simulations.datasets.locate import package_file
from simulations.datasets.split import split
from simulations.datasets.tiny import general_text, tiny_base
from simulations.demo.plan import FULL, QUICK, DemoScale, demo_corpus, plan_nodes

SHARES = {"train": 0.6, "probes": 0.2, "held": 0.2}
KEY = b"a key"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("bases"))


def test_every_organ_system_has_the_definitions_it_is_known_to_have() -> None:
    counts = {system: len(definitions(system)) for system in SYSTEMS}
    assert counts == {
        "nervous": 1855,
        "cardiovascular": 800,
        "eye": 748,
        "immune": 553,
        "integument": 456,
        "respiratory": 383,
        "genitourinary": 817,
        "metabolism": 1260,
    }


def test_no_definition_stands_in_two_organ_systems() -> None:
    texts = [text for system in SYSTEMS for text in definitions(system)]
    assert len(texts) == len(set(texts))


def test_an_unknown_organ_system_is_an_error() -> None:
    with pytest.raises(ValueError, match="no organ system"):
        definitions("gearbox")


def test_a_disease_is_named_in_spanish_behind_its_code() -> None:
    assert "I21 Infarto agudo del miocardio" in names("es", "circulatory")


def test_a_code_of_four_characters_has_its_point() -> None:
    assert "I20.9 Angina de pecho, no especificada" in names("es", "circulatory")


@pytest.mark.parametrize("language", ["en", "de", "es", "fr", "pt_BR", "zh_CN"])
def test_a_chapter_holds_only_named_diseases_of_its_letter(language: str) -> None:
    found = [line.partition(" ") for line in names(language, "circulatory")]
    assert len(found) > 300
    assert all(code.startswith("I") and name not in ("", "nan") for code, _, name in found)


def test_a_language_that_is_not_there_is_an_error_with_a_code() -> None:
    with pytest.raises(NodeError, match="no-data"):
        names("tlh", "circulatory")


def test_a_missing_package_is_named_in_the_error() -> None:
    with pytest.raises(NodeError, match=r"no-data.*install the package some-project"):
        package_file("no_such_package_here", "*.gguf", "some-project")


def test_each_distinct_text_falls_in_exactly_one_part() -> None:
    texts = [f"text {i % 500}" for i in range(1000)]
    dealt = [text for part in split(texts, SHARES, KEY).values() for text in part]
    assert sorted(dealt) == sorted(set(texts))


def test_a_split_does_not_depend_on_the_order_of_the_texts() -> None:
    texts = [f"text {i}" for i in range(500)]
    assert split(texts, SHARES, KEY) == split(reversed(texts), SHARES, KEY)


def test_a_text_stays_in_its_part_when_others_come() -> None:
    few = split([f"text {i}" for i in range(100)], SHARES, KEY)
    many = split([f"text {i}" for i in range(500)], SHARES, KEY)
    assert all(set(few[part]) <= set(many[part]) for part in SHARES)


def test_another_key_splits_otherwise() -> None:
    texts = [f"text {i}" for i in range(500)]
    assert split(texts, SHARES, KEY) != split(texts, SHARES, b"another key")


def test_parts_have_about_their_shares() -> None:
    parts = split([f"text {i}" for i in range(5000)], SHARES, KEY)
    assert {n: len(p) / 5000 for n, p in parts.items()} == pytest.approx(SHARES, abs=0.03)


def test_shares_that_do_not_sum_to_one_are_an_error() -> None:
    with pytest.raises(AggregationError, match="sum to 1"):
        split(["text"], {"train": 0.5}, KEY)


@pytest.mark.parametrize("settings", [FULL, QUICK], ids=["full", "quick"])
def test_the_corpus_has_enough_text_for_the_plan(settings: DemoScale) -> None:
    corpus = demo_corpus(seed=0)
    assert all(len(parts["held"]) >= settings.held for parts in corpus.values())
    assert plan_nodes(corpus, settings, attack=True)


def test_the_tiny_base_never_saw_the_text_of_the_demo() -> None:
    demo = {t for parts in demo_corpus(seed=0).values() for part in parts.values() for t in part}
    assert not demo & set(general_text())


def test_the_tiny_base_is_a_base_like_any_other(base: Path) -> None:
    assert describe_base(base).parameters > 100_000


def test_the_tiny_base_is_left_alone_when_it_is_there(base: Path) -> None:
    before = (base / "model.safetensors").stat().st_mtime_ns
    assert tiny_base(base.parent) == base
    assert (base / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_tiny_base_that_another_process_made_meanwhile_wins(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    def train_while_another_is_faster(*_: object) -> object:
        shutil.copytree(base, tmp_path / "tiny")
        (tmp_path / "tiny" / "theirs").touch()
        return AutoModelForCausalLM.from_pretrained(base)

    monkeypatch.setattr(tiny, "_train_model", train_while_another_is_faster)
    assert tiny_base(tmp_path) == tmp_path / "tiny"
    assert (tmp_path / "tiny" / "theirs").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["cardiovascular", "es-circulatory"])
def test_an_adapter_learns_text_that_is_new_to_the_tiny_base(base: Path, source: str) -> None:
    from nodes.model.base import load_base
    from nodes.model.effective import EffectiveModel
    from nodes.model.learner import TrainingRun, train

    layout = Layout.of_model(load_base(base)[0], QUICK.targets, QUICK.rank)
    model = EffectiveModel(base, layout, draw_basis(layout, seed=0))
    text = demo_corpus(seed=0)[source]
    zero = np.zeros(layout.size, np.float32)
    settings = TrainingRun(rank=QUICK.rank, **QUICK.training)
    learned = train(model, zero, text["train"], settings)

    def held_out_loss(theta: np.ndarray) -> float:
        model.set_theta(theta)
        losses, counts = model.sequence_losses(text["held"][: QUICK.held])
        return float((losses * counts).sum() / counts.sum())

    assert held_out_loss(learned.delta) < held_out_loss(zero) - 0.1
