"""``kill -9`` of real nodes in the middle of a round: nothing accepted is lost or doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.state.ledger import Ledger
from tests.nodes.daemons import Nodes, events, wait_for
from tests.nodes.network import ROUNDS, add_child, make_root, peer
from tests.ports import free_port

pytestmark = pytest.mark.slow

RELEASES = 3


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    started = Nodes()
    try:
        yield started
    finally:
        started.end()


@pytest.fixture
def network(tmp_path: Path, base: Path) -> tuple[Path, Path, Path]:
    """A root that stops after three releases, and two devices; nothing runs yet."""
    port = free_port()
    rounds = ROUNDS | {"max_releases": RELEASES, "deadline_s": 300, "resend_s": 5, "retry_s": 1}
    root = make_root(tmp_path / "root", base, rounds, port)
    address = f"127.0.0.1:{port}"
    one, two = (add_child(root, tmp_path / name, base, address=address) for name in ("one", "two"))
    for folder in (one, two):
        peer(folder).close()  # makes its ledger, which the tests read from the start
    return root, one, two


def rounds_released(root: Path) -> int:
    return sum(event.body["kind"] == "round" for event in events(root, "released"))


def check_nothing_lost_or_doubled(root: Path) -> None:
    """Every update that was accepted stands in exactly one release, as accepted."""
    accepted = [event.body["seat"]["update"] for event in events(root, "update-accepted")]
    counted = Counter(
        verdict["update"]
        for event in events(root, "released")
        for verdict in event.body["verdicts"]
        if verdict["verdict"] in ("accepted", "outvoted")
    )
    assert len(set(accepted)) == len(accepted)
    assert counted == Counter(accepted)
    with Ledger.open_read_only(root / "ledger.sqlite") as ledger:
        ledger.verify()


def test_a_parent_that_is_killed_in_a_round_goes_on_with_what_it_had_accepted(
    nodes: Nodes, network: tuple[Path, Path, Path]
) -> None:
    root, one, two = network
    nodes.start(root)
    nodes.start(one)
    wait_for(lambda: len(events(root, "update-accepted")) == 1)  # the round waits for the other
    nodes.kill(root)
    nodes.start(two)
    nodes.start(root)
    wait_for(lambda: rounds_released(root) == RELEASES)
    check_nothing_lost_or_doubled(root)
    assert len(events(root, "update-accepted")) == 2 * RELEASES
    assert nodes.stop(root) == 0, "SIGTERM ends a node cleanly"


def test_a_device_that_is_killed_in_a_round_takes_part_again(
    nodes: Nodes, network: tuple[Path, Path, Path]
) -> None:
    root, one, two = network
    for folder in (root, one, two):
        nodes.start(folder)
    wait_for(lambda: bool(events(one, "chain-installed")))  # it has its task and trains
    nodes.kill(one)
    nodes.start(one)
    wait_for(lambda: rounds_released(root) == RELEASES)
    check_nothing_lost_or_doubled(root)
    contributors = {event.body["child"] for event in events(root, "update-accepted")}
    assert len(contributors) == 2
    assert nodes.stop(one) == 0
