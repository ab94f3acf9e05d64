"""``banyan adapter``: an effective model goes out to PEFT and comes in again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.model.basis import from_bytes
from nodes.model.effective import EffectiveModel
from nodes.model.peft_io import WEIGHTS
from nodes.releases.publish import publish_by_hand
from protocol import encode_adapter
from tests.nodes.conftest import TEXTS
from tests.nodes.toy import Member, Tree, tree


@pytest.fixture
def pair(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member]]:
    """A root that released by a round, and a personal device with an adapter of its own."""
    with tree(tmp_path / "nodes", base) as made:
        root = made.root()
        target = np.random.default_rng(2).normal(0, 0.5, root.node.size).astype(np.float32)
        root.toy.target = target
        device = made.child(root, "device", "/", target, mode="personal", probed=True)
        root.rounds()
        yield made, root, device


def run(made: Tree, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*words, "--nodes", str(made.folder)])
    return result.exit_code, result.output


# Of PEFT about transformers, not of ours.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("personal", [False, True], ids=["scope", "personal device"])
def test_what_peft_loads_computes_the_effective_model(
    pair: tuple[Tree, Member, Member], base: Path, tmp_path: Path, personal: bool
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    made, root, device = pair
    member, out = device if personal else root, tmp_path / "out"
    node = ["--node", str(member.node.home.folder)]
    code, output = run(made, "adapter", "export", "/", "--to", str(out), *node)
    assert code == 0, output
    home = member.node.home
    basis = from_bytes(home.basis_file.read_bytes(), home.layout)
    ours = EffectiveModel(base, home.layout, basis, dtype="float32")
    ours.set_theta(member.node.effective())
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(plain, out)
    ids = torch.tensor(ours.tokenize(TEXTS[:1], 100))
    with torch.inference_mode():
        logits = theirs(input_ids=ids).logits[0].numpy()
    np.testing.assert_allclose(logits, ours.logits(TEXTS[0]), atol=1e-4)


def test_the_card_tells_lineage_measurements_and_licence(
    pair: tuple[Tree, Member, Member], base: Path, tmp_path: Path
) -> None:
    made, root, _ = pair
    licence = base / "README.md"
    licence.write_text("---\nlicense: apache-2.0\n---\n# A base\n", "utf-8")
    out = tmp_path / "deep" / "out"
    try:
        code, output = run(made, "adapter", "export", "/", "--to", str(out), "--json")
    finally:
        licence.unlink()
    assert code == 0, output
    result = json.loads(output)
    latest = root.node.state.own.latest
    assert latest is not None
    assert (result["version"], result["licence"]) == (2, "apache-2.0")
    assert result["releases"] == [latest.release]
    card = (out / "README.md").read_text("utf-8")
    network = root.node.home.network
    for said in ("license: apache-2.0", latest.release, network.network, network.base):
        assert said in card
    (released,) = (e.body for e in root.node.ledger.events(["released"]) if e.body["round"])
    (loss,) = released["losses"]
    row = f"| / | 2 | {loss['source']} | {loss['count']} | {loss['before']:.3f} |"
    assert row in card
    assert str(made.folder) not in card


def test_the_card_says_that_a_devices_own_adapter_is_part_of_it(
    pair: tuple[Tree, Member, Member], tmp_path: Path
) -> None:
    made, _, device = pair
    out = tmp_path / "out"
    node = ["--node", str(device.node.home.folder)]
    assert run(made, "adapter", "export", "/", "--to", str(out), *node)[0] == 0
    assert "learned 1 times on its own text" in (out / "README.md").read_text("utf-8")


def test_a_folder_that_holds_something_stays_as_it_is(
    pair: tuple[Tree, Member, Member], tmp_path: Path
) -> None:
    made, _, _ = pair
    (tmp_path / "out").mkdir()
    assert run(made, "adapter", "export", "/", "--to", str(tmp_path / "out"))[0] == 0
    before = {p: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    code, output = run(made, "adapter", "export", "/", "--to", str(tmp_path / "out"))
    assert (code, "not-empty" in output) == (1, True)
    assert {p: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_an_export_that_fails_leaves_nothing(
    pair: tuple[Tree, Member, Member], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    made, _, _ = pair
    monkeypatch.setattr("nodes.model.peft_io.save_file", full)
    code, output = run(made, "adapter", "export", "/", "--to", str(tmp_path / "new" / "out"))
    assert (code, "not-written" in output) == (1, True)
    assert not list((tmp_path / "new").iterdir())


def test_an_export_is_imported_and_published_at_another_root(
    pair: tuple[Tree, Member, Member], tmp_path: Path
) -> None:
    made, root, _ = pair
    out, file = tmp_path / "out", tmp_path / "adapter.safetensors"
    theta = root.node.effective()
    assert run(made, "adapter", "export", "/", "--to", str(out))[0] == 0
    words = ["adapter", "import", str(out), "--to", str(file), "--node", "/"]
    code, output = run(made, *words, "--json")
    assert code == 0, output
    assert json.loads(output)["lost"] < 1e-5
    assert run(made, *words)[0] == 1  # the file is there
    publish_by_hand(root.node, encode_adapter(-theta))
    code, output = run(made, "node", "publish", str(file), "--node", "/")
    assert code == 0, output
    root.node.catch_up()
    np.testing.assert_allclose(root.node.effective(), theta, atol=1e-6)


def test_the_loss_is_said_for_each_layer_and_in_all(
    pair: tuple[Tree, Member, Member], tmp_path: Path
) -> None:
    made, _, _ = pair
    out = tmp_path / "out"
    assert run(made, "adapter", "export", "/", "--to", str(out))[0] == 0
    _turn(out / WEIGHTS)
    words = ["--to", str(tmp_path / "x.safetensors"), "--node", "/"]
    code, output = run(made, "adapter", "import", str(out), *words)
    assert code == 0, output
    assert output.count("q_proj") == output.count("v_proj") == 2
    assert "of the change is lost" in output
    assert "Train on its texts instead" in " ".join(output.split())


@pytest.mark.parametrize("part", ["", WEIGHTS], ids=["folder", "file"])
def test_publishing_a_peft_adapter_says_how(
    pair: tuple[Tree, Member, Member], tmp_path: Path, part: str
) -> None:
    made, root, _ = pair
    out = tmp_path / "out"
    assert run(made, "adapter", "export", "/", "--to", str(out))[0] == 0
    code, output = run(made, "node", "publish", str(out / part), "--node", "/")
    assert code == 1
    assert f"banyan adapter import {out} --to adapter.safetensors" in " ".join(output.split())
    root.node.catch_up()
    assert root.node.state.own.version == 2


def _turn(path: Path) -> None:
    """Give every A other directions, as an adapter from elsewhere has."""
    from safetensors.numpy import load_file, save_file

    rng = np.random.default_rng(5)
    tensors = load_file(path)
    for name, values in tensors.items():
        if "lora_A" in name:
            tensors[name] = rng.normal(0, 1, values.shape).astype(np.float32)
    save_file(tensors, path, {"format": "pt"})
