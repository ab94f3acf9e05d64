"""How a base is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nodes.errors import NodeError
from nodes.model.base import convert_gguf, describe_base


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(base, tmp_path / "base")


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


def test_a_missing_folder_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(NodeError) as e:
        describe_base(tmp_path / "nowhere")
    assert e.value.code == "no-base"


def test_a_cut_off_tensor_file_is_no_base(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NodeError) as e:
        describe_base(folder)
    assert e.value.code == "no-base"


def test_a_missing_gguf_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(NodeError) as e:
        convert_gguf(tmp_path / "nothing.gguf", tmp_path / "out")
    assert e.value.code == "no-base"
