"""Reading PEFT adapters into a network's coordinates; the library itself makes the foreign ones."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from nodes.errors import NodeError
from nodes.model.base import outline_base
from nodes.model.basis import draw_basis
from nodes.model.effective import EffectiveModel
from nodes.model.layout import Layer, Layout
from nodes.model.peft_import import Imported, import_peft, is_peft
from nodes.model.peft_io import CONFIG, WEIGHTS, export_peft
from tests.nodes.conftest import TEXTS

# Of PEFT about transformers, not of ours.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def exported(folder: Path, base: Path, layout: Layout, seed: int = 0) -> NDArray[np.float32]:
    """Write an adapter in the coordinates of a network; return its θ."""
    theta = np.random.default_rng(1).normal(0, 0.25, layout.size).astype(np.float32)
    export_peft(folder, str(base), layout, draw_basis(layout, seed), theta)
    return theta


def foreign(folder: Path, base: Path, **config: Any) -> Any:
    """Let PEFT write an adapter of its own with drawn values; return its model."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    settings = {"r": 4, "target_modules": ["q_proj", "v_proj"], "lora_alpha": 8} | config
    made = get_peft_model(plain, LoraConfig(task_type="CAUSAL_LM", **settings))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, values in made.named_parameters():
            if "lora_" in name:
                values.normal_(0, 0.2)
    made.save_pretrained(folder, save_embedding_layers=False)
    return made.eval()


def imported(folder: Path, base: Path, layout: Layout) -> Imported:
    """Import with the base asked as the command asks it."""

    def layers_of_base(names: Sequence[str]) -> Sequence[Layer]:
        return Layout.of_model(outline_base(base), names, 1).layers

    return import_peft(folder, layout, draw_basis(layout, 0), layers_of_base)


def reason(folder: Path, base: Path, layout: Layout) -> tuple[str, str]:
    with pytest.raises(NodeError) as e:
        imported(folder, base, layout)
    return e.value.code, e.value.sentence


def change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    (folder / CONFIG).write_text(json.dumps(config | values), "utf-8")


def full_layout(base: Path) -> Layout:
    """Coordinates that span every input: nothing of any adapter is lost."""
    from nodes.model.base import load_base

    return Layout.of_model(load_base(base)[0], ("q_proj", "v_proj"), 32)


def test_an_export_is_read_back(tmp_path: Path, base: Path, model: EffectiveModel) -> None:
    theta = exported(tmp_path / "a", base, model.layout)
    again = imported(tmp_path / "a", base, model.layout)
    np.testing.assert_allclose(again.theta, theta, atol=1e-6)
    assert again.lost < 1e-5


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"r": 2, "lora_alpha": 32},
        {"use_rslora": True},
        {"rank_pattern": {"layers.0.self_attn.q_proj": 7}, "alpha_pattern": {"v_proj": 3}},
        {"target_modules": ["v_proj"], "layers_to_transform": [1]},
    ],
    ids=["plain", "scaled", "rslora", "patterns", "a subset"],
)
def test_where_the_coordinates_span_everything_the_import_computes_what_peft_computes(
    tmp_path: Path, base: Path, config: dict[str, Any]
) -> None:
    theirs = foreign(tmp_path / "a", base, **config)
    layout = full_layout(base)
    got = imported(tmp_path / "a", base, layout)
    ours = EffectiveModel(base, layout, draw_basis(layout, 0), dtype="float32")
    ours.set_theta(got.theta)
    ids = torch.tensor(ours.tokenize(TEXTS[:1], 100))
    with torch.inference_mode():
        expected = theirs(input_ids=ids).logits[0].numpy()
        plain = theirs.get_base_model()
        with theirs.disable_adapter():
            before = plain(input_ids=ids).logits[0].numpy()
    np.testing.assert_allclose(ours.logits(TEXTS[0]), expected, atol=1e-4)
    assert np.abs(expected - before).max() > 1e-2
    assert got.lost < 1e-5


def test_what_is_lost_is_what_the_projection_leaves_out(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    """The loss of each layer and of all, computed from the whole matrices."""
    foreign(tmp_path / "a", base)
    layout = model.layout
    got = imported(tmp_path / "a", base, layout)
    tensors = {k: v.double().numpy() for k, v in load_file(tmp_path / "a" / WEIGHTS).items()}
    basis, squares = draw_basis(layout, 0), np.zeros(2)
    for layer, part in layout.parts():
        key = f"base_model.model.{layer.name}.lora_"
        whole = 2 * tensors[f"{key}B.weight"] @ tensors[f"{key}A.weight"]
        kept = got.theta[part].reshape(layer.out, layout.rank) @ basis[layer.name]
        said = next(x for x in got.layers if x.name == layer.name)
        lost, norm = np.linalg.norm(whole - kept), np.linalg.norm(whole)
        assert said.share == pytest.approx(lost / norm, rel=1e-4)
        squares += lost**2, norm**2
    assert got.lost == pytest.approx(np.sqrt(squares[0] / squares[1]), rel=1e-4)
    assert 0.5 < got.lost < 1


def test_layers_that_the_network_does_not_adapt_are_lost_whole(tmp_path: Path, base: Path) -> None:
    foreign(tmp_path / "a", base, target_modules=["v_proj", "o_proj"])
    got = imported(tmp_path / "a", base, full_layout(base))
    assert {x.name.rpartition(".")[2]: round(x.share, 3) for x in got.layers} == {
        "v_proj": 0.0,
        "o_proj": 1.0,
    }
    assert 0.1 < got.lost < 1


def test_bfloat16_is_read(tmp_path: Path, base: Path, model: EffectiveModel) -> None:
    theta = exported(tmp_path / "a", base, model.layout)
    path = tmp_path / "a" / WEIGHTS
    save_file({k: v.bfloat16() for k, v in load_file(path).items()}, path, {"format": "pt"})
    again = imported(tmp_path / "a", base, model.layout)
    np.testing.assert_allclose(again.theta, theta, atol=0.02)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "whole layers"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "embedding"),
        ({"bias": "lora_only"}, "biases"),
        ({"init_lora_weights": "pissa"}, "which it changed"),
        ({"target_modules": ["o_proj"]}, "none of its layers"),
    ],
    ids=["dora", "saved modules", "embeddings", "biases", "pissa", "no layer in common"],
)
def test_what_cannot_be_expressed_is_refused_with_the_reason(
    tmp_path: Path, base: Path, model: EffectiveModel, config: dict[str, Any], why: str
) -> None:
    foreign(tmp_path / "a", base, **config)
    code, sentence = reason(tmp_path / "a", base, model.layout)
    assert code == "foreign-adapter"
    assert why in sentence


def test_a_tied_layer_is_refused_with_the_reason(tmp_path: Path, base: Path) -> None:
    tied = shutil.copytree(base, tmp_path / "tied")
    config = json.loads((tied / "config.json").read_text("utf-8"))
    (tied / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}), "utf-8")
    foreign(tmp_path / "a", base, target_modules=["q_proj", "lm_head"])
    code, sentence = reason(tmp_path / "a", tied, full_layout(base))
    assert (code, "one weight with" in sentence) == ("tied-target", True)


def test_layers_of_another_shape_or_architecture_are_refused(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    layout = model.layout
    wider = tuple(Layer(x.name, x.out, x.inp + 8) for x in layout.layers)
    exported(tmp_path / "wide", base, Layout(wider, layout.rank))
    assert "made for another one" in reason(tmp_path / "wide", base, layout)[1]
    more = (*layout.layers, Layer("model.layers.9.self_attn.q_proj", 32, 32))
    exported(tmp_path / "deep", base, Layout(more, layout.rank))
    assert "another architecture" in reason(tmp_path / "deep", base, layout)[1]


@pytest.mark.parametrize(
    "values",
    [{"r": 4}, {"peft_type": "IA3"}, {"a_new_variant": True}, {"lora_alpha": "8"}],
    ids=lambda values: next(iter(values)),
)
def test_a_configuration_that_means_something_else_is_refused(
    tmp_path: Path, base: Path, model: EffectiveModel, values: dict[str, Any]
) -> None:
    exported(tmp_path / "a", base, model.layout)
    change(tmp_path / "a", **values)
    assert reason(tmp_path / "a", base, model.layout)[0] == "foreign-adapter"


def test_values_that_are_not_finite_are_refused(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    layout = model.layout
    theta = np.zeros(layout.size, np.float32)
    theta[3] = np.nan
    export_peft(tmp_path / "a", str(base), layout, draw_basis(layout, 0), theta)
    assert "not finite" in reason(tmp_path / "a", base, layout)[1]


def test_what_is_no_adapter_is_named_and_a_pickle_is_not_read(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    assert reason(tmp_path, base, model.layout)[0] == "no-adapter"
    exported(tmp_path, base, model.layout)
    data = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(data[: len(data) // 2])
    assert reason(tmp_path, base, model.layout)[0] == "no-adapter"
    (tmp_path / WEIGHTS).unlink()
    (tmp_path / "adapter_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    code, sentence = reason(tmp_path, base, model.layout)
    assert (code, "pickle" in sentence) == ("no-adapter", True)
    assert not (tmp_path / "sprung").exists()


def test_an_adapter_is_known_by_its_folder_and_its_files(
    tmp_path: Path, base: Path, model: EffectiveModel
) -> None:
    exported(tmp_path / "a", base, model.layout)
    assert all(map(is_peft, [tmp_path / "a", tmp_path / "a" / WEIGHTS, tmp_path / "a" / CONFIG]))
    assert not any(map(is_peft, [base, base / "model.safetensors", tmp_path / "none"]))


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)
