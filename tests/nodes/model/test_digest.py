"""How a base is named: by all that decides its numbers, and by nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nodes.model.digest import describe_base
from protocol import digest_of
from tests.nodes.model.conftest import split


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def test_one_changed_byte_of_a_tensor_changes_the_digest(folder: Path) -> None:
    before = describe_base(folder)
    flip_last_byte(folder / "model.safetensors")
    after = describe_base(folder)
    assert after.digest != before.digest
    assert after.tokenizer_digest == before.tokenizer_digest


def test_a_changed_tokenizer_changes_only_its_own_digest(folder: Path) -> None:
    before = describe_base(folder)
    with (folder / "tokenizer.json").open("a", encoding="utf-8") as file:
        file.write(" ")
    after = describe_base(folder)
    assert after.tokenizer_digest != before.tokenizer_digest
    assert after.digest == before.digest


def test_two_copies_have_the_same_digest(base: Path, folder: Path) -> None:
    assert describe_base(folder) == describe_base(base)


def test_every_parameter_is_counted(folder: Path) -> None:
    size = (folder / "model.safetensors").stat().st_size
    parameters = describe_base(folder).parameters
    assert 0 < size - 2 * parameters < 10_000  # bf16, and a header


def test_a_digest_is_kept_beside_the_files(folder: Path) -> None:
    first = describe_base(folder)
    cache = next(folder.glob(".banyan-*.json"))
    kept = json.loads(cache.read_text("utf-8"))
    kept["info"]["parameters"] = 7
    cache.write_text(json.dumps(kept), "utf-8")
    assert first.parameters != 7
    assert describe_base(folder).parameters == 7  # read from there, not counted again


def test_a_broken_cache_is_replaced(folder: Path) -> None:
    first = describe_base(folder)
    next(folder.glob(".banyan-*.json")).write_text("{", "utf-8")
    assert describe_base(folder) == first


def change(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; None takes a key out."""
    content = json.loads(path.read_text("utf-8")) | values
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), "utf-8")


@pytest.mark.parametrize(
    "values",
    [
        {"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}},
        {"rms_norm_eps": 1e-3},
        {"hidden_act": "relu"},
        {"num_key_value_heads": 4},
    ],
    ids=str,
)
def test_what_decides_the_numbers_changes_the_digest(folder: Path, values: dict[str, Any]) -> None:
    before = describe_base(folder)
    change(folder / "config.json", **values)
    after = describe_base(folder)
    assert after.digest != before.digest
    assert after.tokenizer_digest == before.tokenizer_digest


@pytest.mark.parametrize(
    "values",
    [
        {"transformers_version": "4.0.0"},
        {"_name_or_path": "somewhere/else"},
        {"dtype": None, "torch_dtype": "float32"},
        {"use_cache": False},
        {"attention_dropout": 0},  # 0.0
    ],
    ids=str,
)
def test_what_changes_no_number_leaves_the_digest(folder: Path, values: dict[str, Any]) -> None:
    before = describe_base(folder)
    change(folder / "config.json", **values)
    assert describe_base(folder) == before


def test_another_spelling_of_the_configuration_is_the_same_base(folder: Path) -> None:
    before = describe_base(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    turned = dict(reversed(config.items())) | {"hidden_size": 32.0, "rope_scaling": None}
    (folder / "config.json").write_text(json.dumps(turned, indent=7), "utf-8")
    assert describe_base(folder) == before


def test_settings_of_generation_belong_to_a_base(folder: Path) -> None:
    before = describe_base(folder)
    change(folder / "generation_config.json", transformers_version="0")
    assert describe_base(folder) == before
    change(folder / "generation_config.json", repetition_penalty=1.5)
    assert describe_base(folder).digest != before.digest


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer.model",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "additional_chat_templates/tools.jinja",
    ],
)
def test_a_tokenizer_is_all_of_its_files(folder: Path, name: str) -> None:
    before = describe_base(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}", "utf-8")
    after = describe_base(folder)
    assert after.tokenizer_digest != before.tokenizer_digest
    assert after.digest == before.digest


@pytest.mark.parametrize(
    "name",
    [
        "consolidated.safetensors",
        "adapter_model.safetensors",
        "model-00001-of-00002.safetensors",
        "pytorch_model.bin",
        "README.md",
    ],
)
def test_what_lies_beside_a_base_is_not_the_base(folder: Path, name: str) -> None:
    before = describe_base(folder)
    shutil.copy(folder / "model.safetensors", folder / name)
    assert describe_base(folder) == before


def test_a_base_in_shards_is_the_base_in_one_file(folder: Path) -> None:
    before = describe_base(folder)
    split(folder)
    assert describe_base(folder) == before
    shutil.copy(folder / "a.safetensors", folder / "model-00001-of-00002.safetensors")
    assert describe_base(folder) == before


def test_a_cache_of_another_definition_is_not_used(folder: Path) -> None:
    first = describe_base(folder)
    cache = next(folder.glob(".banyan-*.json"))
    kept = json.loads(cache.read_text("utf-8"))
    kept["info"]["parameters"] = 7
    cache.write_text(json.dumps(kept | {"version": 1}), "utf-8")
    assert describe_base(folder) == first


def test_a_statement_of_an_earlier_network_still_means_its_base(folder: Path) -> None:
    info = describe_base(folder)
    parts = [
        digest_of((folder / name).read_bytes()) + name
        for name in ("tokenizer.json", "tokenizer_config.json")
    ]
    # What version 1 made of the tokenizer: its files in this order, each digest before its name.
    assert info.earlier[1] == digest_of("".join(parts).encode())
    assert info.is_called(*info.earlier)
    assert info.is_called(info.digest, info.tokenizer_digest)
    assert not info.is_called(info.digest, info.earlier[1])
    flip_last_byte(folder / "model.safetensors")
    assert not describe_base(folder).is_called(*info.earlier)
