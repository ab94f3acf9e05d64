"""What a settled round says of each update, with real nodes and a real base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodes.config.files import load_config
from nodes.errors import NodeError
from nodes.releases.publish import start_root
from protocol import (
    Envelope,
    PayloadFormat,
    Update,
    decode_delta,
    digest_of,
    encode_delta,
    open_envelope,
    seal,
)
from tests.nodes.network import ROUNDS, Peer, add_child, by_child, make_root, peer

pytestmark = pytest.mark.slow

CHILDREN = 4


@contextmanager
def federation(folder: Path, base: Path, pipeline: list[str]) -> Iterator[list[Peer]]:
    """A root that tolerates one bad child of four, and the four."""
    rounds = {**ROUNDS, "f": 1, "grace": 1000, "pipeline": pipeline}
    root = make_root(folder / "root", base, rounds)
    children = [add_child(root, folder / f"device-{i}", base) for i in range(CHILDREN)]
    peers = [peer(of) for of in (root, *children)]
    start_root(peers[0].node)
    yield peers
    for p in peers:
        p.close()


def play(peers: list[Peer], factors: Mapping[int, float]) -> None:
    """One round; a child with a factor sends its delta times that."""
    root, *children = peers
    parent = root.parent()
    asked = by_child(parent.step())
    for number, child in enumerate(children):
        kind, blobs = child.child().answer(asked[child.id].blobs)
        if number in factors:
            blobs = scaled(child, blobs, factors[number])
        parent.receive(child.id, asked[child.id].task, kind, blobs)


def scaled(child: Peer, blobs: Mapping[str, bytes], factor: float) -> dict[str, bytes]:
    update = open_envelope(Envelope.decode(blobs["envelope"]), Update, child.home.key.public)
    form = PayloadFormat(update.payload_format)
    delta = decode_delta(blobs["payload"], child.node.size, form)
    payload = encode_delta((factor * delta).astype(np.float32), form)
    changed = replace(update, payload=digest_of(payload), length=len(payload))
    return {"envelope": seal(changed, child.home.key).encode(), "payload": payload}


@pytest.fixture(scope="module")
def outvoting(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[list[Peer]]:
    """A root and four children, after a round in which the first sent its delta reversed."""
    folder = tmp_path_factory.mktemp("outvoting")
    with federation(folder, base, ["arc", "nnm", "centred_clipping"]) as peers:
        play(peers, {0: -8.0})
        yield peers


def test_an_update_that_points_away_is_outvoted_and_remembered(outvoting: list[Peer]) -> None:
    root, *children = outvoting
    bad = children[0].id
    verdicts = {v["node"]: v for v in root.kinds("released")[-1]["verdicts"]}
    assert verdicts[bad]["code"] == "outvoted"
    assert root.node.state.rounds.offences == {bad: 1}
    assert sum(v["share"] for v in verdicts.values()) == pytest.approx(1, abs=0.01)


def test_the_ledger_keeps_how_each_update_lay_to_the_outcome(outvoting: list[Peer]) -> None:
    root, *children = outvoting
    event: Mapping[str, Any] = root.kinds("aggregated")[-1]
    bad, good = event["updates"][children[0].id], event["updates"][children[1].id]
    assert event["applied"] == ["arc", "centred_clipping"], (
        "four updates are too few to mix at f = 1"
    )
    assert bad["clipped"] < 0.5 < good["clipped"] == 1.0
    assert bad["distance"] > 3 * good["distance"]
    assert bad["cosine"] < 0 < good["cosine"]
    assert event["agreement"]["multi_krum"] > 0.5


def test_a_rule_that_chooses_one_accuses_nobody(tmp_path: Path, base: Path) -> None:
    with federation(tmp_path, base, ["krum"]) as peers:
        root = peers[0]
        play(peers, {})
        release = root.kinds("released")[-1]
        assert len(release["accepted"]) == 1
        assert sorted(v["code"] for v in release["verdicts"]) == ["", *["not-chosen"] * 3]
        assert root.node.state.rounds.offences == {}


def test_a_pipeline_that_does_not_exist_is_refused_when_the_configuration_is_read(
    tmp_path: Path, base: Path
) -> None:
    root = make_root(tmp_path / "root", base)
    file = root / "node.toml"
    file.write_text(file.read_text("utf-8").replace("[rounds]", '[rounds]\npipeline = ["krumm"]'))
    with pytest.raises(NodeError, match="no rule or step 'krumm'"):
        load_config(file)
