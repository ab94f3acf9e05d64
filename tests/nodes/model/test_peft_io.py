"""Exporting an adapter to PEFT and reading it back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nodes.errors import NodeError
from nodes.model.basis import draw_basis
from nodes.model.effective import EffectiveModel
from nodes.model.layout import Layout
from nodes.model.peft_io import CONFIG, WEIGHTS, export_peft, import_peft
from tests.nodes.conftest import TEXTS


def some_theta(layout: Layout) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 0.25, layout.size).astype(np.float32)


def exported(folder: Path, base: Path, layout: Layout) -> NDArray[np.float32]:
    theta = some_theta(layout)
    export_peft(folder, str(base), layout, draw_basis(layout, 0), theta)
    return theta


def refused(folder: Path, layout: Layout, seed: int = 0) -> str:
    with pytest.raises(NodeError) as e:
        import_peft(folder, layout, draw_basis(layout, seed))
    return e.value.code


# Of PEFT about transformers, not of ours.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_plain_peft_computes_the_same_logits(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model.set_theta(exported(tmp_path, base, model.layout))
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(plain, tmp_path)
    for text in TEXTS[:3]:
        ids = torch.tensor(model.tokenize([text], 100))
        with torch.inference_mode():
            logits = theirs(input_ids=ids).logits[0].numpy()
        np.testing.assert_allclose(logits, model.logits(text), atol=1e-4)


def test_the_exported_adapter_changes_the_logits(model: EffectiveModel) -> None:
    before = model.logits(TEXTS[0])
    model.set_theta(some_theta(model.layout))
    assert np.abs(model.logits(TEXTS[0]) - before).max() > 1e-2


def test_importing_an_export_gives_the_same_bits(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    theta = exported(tmp_path, base, model.layout)
    again = import_peft(tmp_path, model.layout, draw_basis(model.layout, 0))
    assert again.tobytes() == theta.tobytes()


def test_an_adapter_with_another_a_is_refused(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    exported(tmp_path, base, model.layout)
    assert refused(tmp_path, model.layout, seed=1) == "foreign-adapter"


@pytest.mark.parametrize(
    "change",
    [{"lora_alpha": 16}, {"r": 4}, {"use_rslora": True}, {"use_dora": True}, {"peft_type": "IA3"}],
    ids=lambda change: next(iter(change)),
)
def test_an_adapter_of_another_scale_or_kind_is_refused(
    tmp_path: Path, base: Path, model: EffectiveModel, change: dict[str, object]
) -> None:
    exported(tmp_path, base, model.layout)
    config = json.loads((tmp_path / CONFIG).read_text("utf-8"))
    (tmp_path / CONFIG).write_text(json.dumps({**config, **change}), "utf-8")
    assert refused(tmp_path, model.layout) == "foreign-adapter"


def test_an_adapter_on_other_layers_is_refused(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    layout = model.layout
    exported(tmp_path, base, Layout(layout.layers[:-1], layout.rank))
    assert refused(tmp_path, layout) == "foreign-adapter"


def test_a_b_that_is_not_finite_is_refused(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    layout = model.layout
    theta = some_theta(layout)
    theta[3] = np.nan
    export_peft(tmp_path, str(base), layout, draw_basis(layout, 0), theta)
    assert refused(tmp_path, layout) == "foreign-adapter"


def test_a_folder_without_an_adapter_is_named(tmp_path: Path, model: EffectiveModel) -> None:
    assert refused(tmp_path, model.layout) == "no-adapter"


def test_a_cut_off_file_is_named(tmp_path: Path, base: Path, model: EffectiveModel) -> None:
    exported(tmp_path, base, model.layout)
    data = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(data[: len(data) // 2])
    assert refused(tmp_path, model.layout) == "no-adapter"


def test_a_theta_of_another_length_is_not_exported(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    layout = model.layout
    short = np.zeros(layout.size - 1, np.float32)
    with pytest.raises(ValueError, match="theta has shape"):
        export_peft(tmp_path, str(base), layout, draw_basis(layout, 0), short)
