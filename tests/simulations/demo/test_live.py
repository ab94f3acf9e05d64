"""What the demo shows while it runs: on a terminal everybody, else only what changed."""

from __future__ import annotations

import io
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from nodes.dashboard.status import Status
from nodes.dashboard.tree import Tree, read_tree
from protocol import ChildState, Role, Scope
from simulations.demo.live import Progress
from tests.nodes.peers.statuses.world import Signer, a_world

GOAL = {Scope(): 1, Scope.parse("/en"): 1, Scope.parse("/en/care"): 2, Scope.parse("/fr"): 1}


def seen_as(signer: Signer, state: str, reason: str, now_ms: int) -> ChildState:
    name = signer.certificate.name
    return ChildState(
        node=signer.id, name=name, state=state, reason=reason, since_ms=now_ms, seen_ms=now_ms
    )


def ledgers() -> dict[Scope, Status]:
    found = {scope: Status(scope=str(scope)) for scope in GOAL}
    care = found[Scope.parse("/en/care")]
    care.releases, care.refused = Counter(round=1), Counter({"norm-too-large": 3})
    care.first_loss, care.loss = 5.0, 4.25
    return found


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80, height=50, color_system=None)


def test_a_terminal_shows_every_node_and_what_the_ledgers_say(
    tmp_path: Path, console: Console
) -> None:
    with a_world(tmp_path) as world:
        now = world.now
        care = world.en.below("care", Role.INTERIOR, now_ms=now)
        good, bad = (care.below(f"care-{name}", now_ms=now) for name in ("good", "bad"))
        children = (
            seen_as(good, "active", "", now),
            seen_as(bad, "quarantined", "quarantined", now),
        )
        care_says = care.signed(now, children=children, version=7, round=3, round_open=True)
        statuses = [world.en.signed(now), care_says, good.signed(now)]
        assert world.book.take(world.en.id, statuses) == []
        tree = partial(read_tree, world.root.home.folder, world.clock)
        with Progress(console, GOAL, time.monotonic(), tree) as progress:
            progress.update(ledgers())
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert max(map(len, lines)) <= 80
    (of_care,) = [line.split() for line in lines if "care " in line and "releases" not in line]
    assert of_care[-6:] == ["7", "3…", "1/2", "5.000", "→", "4.250"]
    (of_bad,) = [line.split() for line in lines if "└ bad" in line or "├ bad" in line]
    assert of_bad[-1] == "quarantined"
    assert any("good" in line for line in lines)
    assert any("fr" in line for line in lines)
    assert "refused at /en/care: norm-too-large 3" in lines


def test_elsewhere_a_line_is_printed_when_something_changed() -> None:
    console = Console(file=io.StringIO(), width=80)

    def nobody_asks() -> Tree:
        raise AssertionError

    with Progress(console, GOAL, time.monotonic(), nobody_asks) as progress:
        now = ledgers()
        progress.update(now)
        progress.update(now)
        now[Scope.parse("/fr")].accepted += 1
        progress.update(now)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == len(GOAL) + 1
    assert " /fr " in lines[-1]
    assert "1 accepted" in lines[-1]
