"""A base is tried before a network is made on it: what will do is described, the rest refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from nodes.errors import NodeError
from nodes.model import memory, trial_run
from nodes.model.effective import EffectiveModel
from nodes.model.trial_run import TOLERANCE, try_base
from tests.nodes.model.families import WORDS, make

GOOD = {
    "llama": None,
    "mistral": None,
    "gemma2": None,
    "gemma3_text": None,
    "phi3": ["qkv_proj"],
    "opt": None,
    "gpt_neo": None,
}
BAD = {"bloom": "ALiBi", "mpt": "ALiBi", "mamba": "recurrent", "lfm2": "convolutions"}
OWN_TARGETS = {"bloom": "query_key_value", "mpt": "Wqkv", "mamba": "in_proj", "lfm2": "q_proj"}


def refusal(folder: Path, *targets: str, rank: int = 4) -> NodeError:
    with pytest.raises(NodeError) as e:
        try_base(folder, rank=rank, targets=targets or None)
    assert "\n" not in e.value.sentence
    return e.value


@pytest.mark.parametrize("family", GOOD)
def test_a_base_that_packs_is_accepted(tmp_path: Path, family: str) -> None:
    found = try_base(make(tmp_path, family), rank=4, targets=GOOD[family])
    assert found.difference <= TOLERANCE / 10
    assert found.vocabulary == WORDS + 2
    assert set(found.targets.values()) == {2}
    assert found.memory_needed > 4 * found.parameters
    assert [word for word, _ in found.lines()] == [
        "model", "positions", "vocabulary", "targets", "memory", "packing",
    ]  # fmt: skip


@pytest.mark.parametrize("named", [False, True], ids=["default targets", "own targets"])
@pytest.mark.parametrize("family", BAD)
def test_a_base_whose_documents_see_each_other_is_refused_with_the_reason(
    tmp_path: Path, family: str, named: bool
) -> None:
    error = refusal(make(tmp_path, family), *([OWN_TARGETS[family]] if named else []))
    assert error.code == "unsuitable-base"
    assert BAD[family] in error.sentence


WINDOWS = [("mistral", 16), ("gemma3_text", 16), ("mistral", 300)]
"""The last one is longer than any document of a full pack."""


@pytest.mark.parametrize(("family", "window"), WINDOWS)
def test_the_trial_sees_a_window_that_is_left_out(
    tmp_path: Path, family: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured before windows counted in a document: no difference would show it."""

    def everything(_config: object, sees: torch.Tensor, *_: object) -> torch.Tensor:
        mask = torch.zeros(sees.shape)
        return mask.masked_fill_(~sees, torch.finfo(mask.dtype).min)[None, None]

    make(tmp_path, family, sliding_window=window, max_position_embeddings=1024)
    assert try_base(tmp_path, rank=4).difference <= TOLERANCE / 10
    monkeypatch.setattr("nodes.model.effective.attention_of", everything)
    error = refusal(tmp_path)
    assert error.code == "unsuitable-base"
    assert "nats" in error.sentence


@pytest.mark.parametrize("family", ["gpt2", "phi3"])
def test_missing_targets_are_a_sentence_with_the_layers_there_are(
    tmp_path: Path, family: str
) -> None:
    error = refusal(make(tmp_path, family))
    assert error.code == "bad-targets"
    there = {"gpt2": "lm_head (tied to transformer.wte", "phi3": "qkv_proj (2)"}
    assert there[family] in error.sentence


def test_one_target_that_is_not_there_is_refused_too(tmp_path: Path) -> None:
    error = refusal(make(tmp_path, "llama"), "q_proj", "w_pack")
    assert error.code == "bad-targets"
    assert "w_pack" in error.sentence


def test_a_target_with_a_tied_weight_is_refused(tmp_path: Path) -> None:
    error = refusal(make(tmp_path, "llama", tie_word_embeddings=True), "q_proj", "lm_head")
    assert error.code == "tied-target"
    assert "model.embed_tokens" in error.sentence
    (tmp_path / "untied").mkdir()
    assert try_base(make(tmp_path / "untied", "llama"), rank=4, targets=["lm_head"])


def test_a_rank_beyond_the_narrowest_layer_is_refused(tmp_path: Path) -> None:
    assert refusal(make(tmp_path, "llama"), rank=33).code == "bad-rank"


def test_a_base_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path, "llama") / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"][3] = torch.nan
    save_file(tensors, path, {"format": "pt"})
    error = refusal(tmp_path)
    assert error.code == "unsuitable-base"
    assert "finite" in error.sentence


def test_a_tokenizer_of_another_base_is_refused(tmp_path: Path) -> None:
    error = refusal(make(tmp_path, "llama", vocab_size=WORDS - 20))
    assert error.code == "unsuitable-base"
    assert "tokenizer" in error.sentence


def test_an_added_token_without_an_embedding_is_counted(tmp_path: Path) -> None:
    make(tmp_path, "llama")
    path = tmp_path / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["added_tokens"].append(
        tokenizer["added_tokens"][0] | {"id": WORDS + 2, "content": "<image>"}
    )
    path.write_text(json.dumps(tokenizer), "utf-8")
    found = try_base(tmp_path, rank=4)
    assert found.beyond == 1
    assert "1 of the tokenizer's" in dict(found.lines())["vocabulary"]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """In what type each base was loaded."""
    made: list[str] = []
    load = EffectiveModel

    def recorded(folder: Path, layout: object, basis: object, dtype: str) -> object:
        made.append(dtype)
        return load(folder, layout, basis, dtype)  # type: ignore[arg-type]

    monkeypatch.setattr(trial_run, "EffectiveModel", recorded)
    return iter([made])


def test_what_cannot_be_loaded_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loads: Iterator[list[str]]
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 10_000)
    assert refusal(make(tmp_path, "llama")).code == "not-enough-memory"
    assert next(loads) == []


def test_a_base_too_large_for_float32_is_tried_in_its_own_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loads: Iterator[list[str]]
) -> None:
    make(tmp_path, "llama")
    count = try_base(tmp_path, rank=4).parameters
    monkeypatch.setattr(memory, "free_bytes", lambda: 3 * count)
    found = try_base(tmp_path, rank=4, dtype="bfloat16")
    assert found.tried == "bfloat16"
    assert np.isfinite(found.difference)
    assert next(loads) == ["float32", "bfloat16"]
