"""A thousand signed statuses, made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from nodes.machine.clock import SystemClock
from protocol import NodeId, Role
from protocol.peer_pb2 import Signed
from tests.nodes.peers.statuses.world import a_member, a_root


@dataclass(frozen=True)
class Thousand:
    """Statuses of a closed root's ten children and all below them, a hundred each."""

    folder: Path
    now_ms: int
    by_child: dict[NodeId, list[Signed]]


@pytest.fixture(scope="session")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Thousand:
    folder, clock = tmp_path_factory.mktemp("thousand") / "root", SystemClock()
    root, now = a_root(folder, clock), clock.now_ms()
    by_child = {}
    for language in range(10):
        top = a_member(root, f"language-{language}")
        statuses = [top.signed(now)]
        for domain in range(9):
            middle = top.below(f"domain-{domain}", Role.INTERIOR, now_ms=now)
            statuses.append(middle.signed(now))
            statuses += [
                middle.below(f"device-{language}-{domain}-{i}", now_ms=now).signed(now)
                for i in range(10)
            ]
        by_child[top.id] = statuses
    root.close()
    return Thousand(folder, now, by_child)
