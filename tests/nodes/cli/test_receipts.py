"""``banyan node receipts``: listed, exported, and checked by somebody who has only the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from nodes.child.receipt_book import ReceiptBook
from nodes.cli.app import app
from nodes.parent.receipt_desk import ReceiptDesk
from protocol import Digest, Envelope, PublicKey, Receipt, open_envelope, seal
from tests.nodes.toy import Member, tree


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Member]:
    """A device with a receipt for one update, and another update on its way."""
    with tree(tmp_path_factory.mktemp("receipts"), base) as made:
        root = made.root()
        root.toy.target = np.ones(root.node.size, np.float32)
        ward = made.child(root, "ward", "/", root.toy.target)
        root.rounds()

        def ask(update: Digest) -> tuple[bytes, bytes]:
            receipt, release = ReceiptDesk(root.node).receipt(ward.node.home.id, update)
            return receipt.encode(), release or b""

        made.clock.advance(3_600_000)
        assert ReceiptBook(ward.node, ask).step()
        root.rounds()
        yield ward


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["node", "receipts", *map(str, args)])


def folder_of(device: Member) -> Path:
    return device.node.home.folder


def test_a_node_lists_its_updates(device: Member) -> None:
    result = run("--node", folder_of(device), "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [row["fate"] for row in rows] == ["counted", "no receipt yet"]
    assert "counted" in run("--node", folder_of(device)).stdout


@pytest.fixture
def exported(device: Member, tmp_path: Path) -> Path:
    result = run("--node", folder_of(device), "--export", tmp_path / "proof")
    assert result.exit_code == 0, result.output
    return tmp_path / "proof"


def network_of(device: Member) -> str:
    return Envelope.decode(device.node.home.network_envelope).digest


def test_somebody_else_checks_it_with_the_digest_of_the_network(
    device: Member, exported: Path
) -> None:
    result = run("--check", exported, "--network", network_of(device), "--json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert (found["holds"], found["fate"], found["version"]) == (True, "counted", 2)
    assert found["child"]["name"] == "ward" and found["parent"]["scope"] == "/"
    said = run("--check", exported, "--network", folder_of(device) / "network.env").stdout
    assert "ward" in said and "counted by test (/" in said and "release 2" in said


def test_another_network_is_not_believed(device: Member, exported: Path) -> None:
    result = run("--check", exported, "--network", "0" * 64)
    assert result.exit_code == 1
    assert "wrong-network" in result.output
    assert run("--check", exported, "--network", "what").exit_code == 1


def test_a_changed_file_proves_nothing(device: Member, exported: Path) -> None:
    (release,) = exported.glob("*.release.env")
    whole = release.read_bytes()
    release.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    result = run("--check", exported, "--network", network_of(device))
    assert result.exit_code == 1 and "proves nothing" in result.stdout
    release.unlink()
    result = run("--check", exported, "--network", network_of(device))
    assert result.exit_code == 1 and "wrong-digest" in result.stdout


def test_a_receipt_that_its_child_signed_proves_nothing(device: Member, exported: Path) -> None:
    (file,) = exported.glob("*.receipt.env")
    home = device.node.home
    assert home.parent is not None
    true = open_envelope(
        Envelope.decode(file.read_bytes()), Receipt, PublicKey.from_raw(home.parent.public_key)
    )
    file.write_bytes(seal(true, home.key).encode())
    result = run("--check", exported, "--network", network_of(device))
    assert result.exit_code == 1 and "bad-signature" in result.stdout


def test_an_export_does_not_write_over_anything(device: Member, exported: Path) -> None:
    result = run("--node", folder_of(device), "--export", exported)
    assert result.exit_code == 1 and "exists" in result.output


def test_an_empty_folder_has_nothing_to_check(device: Member, tmp_path: Path) -> None:
    result = run("--check", tmp_path, "--network", network_of(device))
    assert result.exit_code == 1 and "no-receipts" in result.output
