"""Exporting an effective model to PEFT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nodes.model.basis import draw_basis
from nodes.model.effective import EffectiveModel
from nodes.model.layout import Layout
from nodes.model.peft_io import export_peft
from tests.nodes.conftest import TEXTS


def some_theta(layout: Layout) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 0.25, layout.size).astype(np.float32)


def exported(folder: Path, base: Path, layout: Layout) -> NDArray[np.float32]:
    theta = some_theta(layout)
    export_peft(folder, str(base), layout, draw_basis(layout, 0), theta)
    return theta


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


def test_a_theta_of_another_length_is_not_exported(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    layout = model.layout
    short = np.zeros(layout.size - 1, np.float32)
    with pytest.raises(ValueError, match="theta has shape"):
        export_peft(tmp_path, str(base), layout, draw_basis(layout, 0), short)
