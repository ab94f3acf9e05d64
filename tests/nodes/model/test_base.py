"""What is loaded as a base, and what a folder without a whole base is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nodes.errors import NodeError
from nodes.model.base import convert_gguf, load_base
from nodes.model.digest import describe_base
from tests.nodes.model.conftest import split

POINTER = """version https://git-lfs.github.com/spec/v1
oid sha256:6a1ae2e5a0b2d1e5a3ad6b0b0ba5a1a9a4e4a3d5d6c7f8091a2b3c4d5e6f7081
size 269060552
"""


def cut(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def without_a_shard(folder: Path) -> None:
    split(folder)
    (folder / "b.safetensors").unlink()


def shard_elsewhere(folder: Path) -> None:
    split(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text("utf-8").replace("a.safetensors", "../a.safetensors"), "utf-8")


def other_tensor_in_index(folder: Path) -> None:
    split(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text("utf-8").replace("norm.weight", "norm.wait"), "utf-8")


DAMAGE: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "lfs pointer": (
        "bad-base",
        "git lfs pull",
        lambda folder: (folder / "model.safetensors").write_text(POINTER),
    ),
    "lfs tokenizer": (
        "bad-base",
        "git lfs pull",
        lambda folder: (folder / "tokenizer.json").write_text(POINTER),
    ),
    "no config": ("no-base", "config.json", lambda folder: (folder / "config.json").unlink()),
    "no tokenizer": (
        "no-base",
        "tokenizer.json",
        lambda folder: (folder / "tokenizer.json").unlink(),
    ),
    "no weights": (
        "no-base",
        "model.safetensors",
        lambda folder: (folder / "model.safetensors").rename(folder / "other.safetensors"),
    ),
    "half a tokenizer": (
        "bad-base",
        "tokenizer.json",
        lambda folder: cut(folder / "tokenizer.json", 0.5),
    ),
    "half a config": ("bad-base", "config.json", lambda folder: cut(folder / "config.json", 0.5)),
    "a config that is a list": (
        "bad-base",
        "config.json",
        lambda folder: (folder / "config.json").write_text("[]"),
    ),
    "half the tensors": (
        "bad-base",
        "cut off",
        lambda folder: cut(folder / "model.safetensors", 0.5),
    ),
    "one byte short": (
        "bad-base",
        "cut off",
        lambda folder: cut(folder / "model.safetensors", 0.99999),
    ),
    "half a header": (
        "bad-base",
        "cut off",
        lambda folder: (folder / "model.safetensors").write_bytes(
            (folder / "model.safetensors").read_bytes()[:100]
        ),
    ),
    "an empty file": (
        "bad-base",
        "cut off",
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
    ),
    "a shard is missing": ("no-base", "b.safetensors", without_a_shard),
    "a shard elsewhere": ("bad-base", "same folder", shard_elsewhere),
    "an index of other tensors": ("bad-base", "norm.wait", other_tensor_in_index),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_base_is_one_sentence(folder: Path, damage: str) -> None:
    code, word, destroy = DAMAGE[damage]
    destroy(folder)
    with pytest.raises(NodeError) as e:
        describe_base(folder)
    assert e.value.code == code
    assert word in e.value.sentence
    assert "\n" not in e.value.sentence
    with pytest.raises(NodeError, match="-base: "):
        load_base(folder)


def test_a_missing_folder_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(NodeError) as e:
        describe_base(tmp_path / "nowhere")
    assert e.value.code == "no-base"


def test_a_missing_gguf_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(NodeError) as e:
        convert_gguf(tmp_path / "nothing.gguf", tmp_path / "out")
    assert e.value.code == "no-base"


def test_a_missing_tensor_is_not_drawn_at_random(folder: Path) -> None:
    split(folder, leave_out="model.layers.1.mlp.up_proj.weight")
    with pytest.raises(NodeError) as e:
        load_base(folder)
    assert e.value.code == "bad-base"
    assert "model.layers.1.mlp.up_proj.weight" in e.value.sentence


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_memory_that_runs_out_is_not_taken_for_a_bad_file(
    base: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    with pytest.raises(NodeError) as e:
        load_base(base)
    assert e.value.code == "not-enough-memory"


def test_an_adapter_beside_a_base_is_not_loaded(base: Path, folder: Path) -> None:
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "nobody/nothing"}), "utf-8"
    )
    expected, _ = load_base(base, "float32")
    loaded, _ = load_base(folder, "float32")
    for one, other in zip(expected.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_base_in_shards_is_loaded(base: Path, folder: Path) -> None:
    split(folder)
    shutil.copy(base / "model.safetensors", folder / "consolidated.safetensors")
    expected, _ = load_base(base, "float32")
    loaded, _ = load_base(folder, "float32")
    assert all(
        torch.equal(one, other)
        for one, other in zip(expected.parameters(), loaded.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"model_type": "nobody-knows-it"}, "config.json"),
        ({"model_type": "vit"}, "no causal language model"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised"),
        ({"hidden_size": "many"}, "config.json"),
        ({"num_attention_heads": 7}, ""),
        ({"hidden_size": 64}, ""),
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_is_one_sentence(
    folder: Path, values: dict[str, object], word: str
) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | values), "utf-8")
    with pytest.raises(NodeError) as e:
        load_base(folder)
    assert e.value.code in ("unsuitable-base", "bad-base")
    assert word in e.value.sentence
