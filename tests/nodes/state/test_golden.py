"""State folders that earlier code wrote: they open, say the same, run on, and verify."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from nodes.child.child import Child
from nodes.config.files import load_config
from nodes.machine.clock import ManualClock
from nodes.parent.parent import Parent
from nodes.state.home import open_home
from nodes.state.ledger import Ledger
from nodes.state.node import Node
from tests.nodes.toy import Quadratic

GOLDEN = Path(__file__).parent / "golden"
FACTS = json.loads((GOLDEN / "facts.json").read_text("utf-8"))
NODES = ("root", "en", "a", "p")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(GOLDEN / "nodes.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def nodes(folder: Path) -> Iterator[dict[str, Node]]:
    clock = ManualClock(FACTS["at_ms"])
    opened = {name: Node(open_home(folder / name, clock.now_ms()), clock) for name in NODES}
    yield opened
    for node in opened.values():
        node.close()


def facts(node: Node) -> dict[str, Any]:
    """What a node holds, in the words of ``facts.json``."""
    state = node.state
    own, above, offers, rounds = state.own, state.above, state.offers, state.rounds
    return {
        "events": node.ledger.verify(),
        "head": cast(Ledger, node.ledger).head.digest,
        "version": own.version,
        "adapter": own.adapter,
        "baseline": offers.baseline,
        "undone": [list(span) for span in own.undone],
        "moves": state.moves,
        "sequence": state.sequence,
        "snapshot": above.snapshot,
        "chain": [link.release for link in above.links],
        "installs": len(above.installs),
        "sent": sorted(offers.sent),
        "counted_offers": [offer.update for offer in offers.counted],
        "contributors": offers.contributors(),
        "next_round": rounds.next,
        "open_round": rounds.open.round if rounds.open else None,
        "counted": rounds.counted,
        "active": list(state.membership.active),
        "offences": rounds.offences,
        "stand_ins": sorted(rounds.stand_ins),
        "tests": state.gate.tests,
        "promotions": len(own.by_rounds),
        "best": state.best,
        "probe_uses": {source: sum(uses.values()) for source, uses in state.gate.uses.items()},
        "withdrawn": [withdrawn.version for withdrawn in own.withdrawn],
    }


@pytest.mark.parametrize("name", NODES)
def test_a_node_holds_what_it_held(name: str, nodes: dict[str, Node]) -> None:
    assert facts(nodes[name]) == FACTS["nodes"][name]


def test_a_tree_runs_on_and_its_ledgers_verify(folder: Path, nodes: dict[str, Node]) -> None:
    en, clock = nodes["en"], cast(ManualClock, nodes["en"].clock)
    target = en.effective() + 0.05
    children = {nodes[name].home.id: nodes[name] for name in ("a", "p")}
    parent = Parent(en, load_config(folder / "en" / "node.toml"), Quadratic(target))
    before, clocked = en.state.own.version, 0
    while en.state.own.version == before and clocked < 5:
        clock.advance(3_600_000)
        waiting, clocked = parent.step(), clocked + 1
        while waiting:
            request = waiting.pop(0)
            if child := children.get(request.child):
                config = load_config(child.home.folder / "node.toml")
                kind, blobs = Child(child, config, Quadratic(target)).answer(request.blobs)
                waiting += parent.receive(request.child, request.task, kind, blobs)
    assert en.state.own.version == before + 1
    assert {*children} <= {child for _, child in en.state.offers.contributions}
    for name, node in nodes.items():
        assert node.ledger.verify() >= FACTS["nodes"][name]["events"]
