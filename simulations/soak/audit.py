"""What the ledgers of a network say of every update: accepted, settled once, counted once.

Read from the ledgers of both sides after all processes have ended. An accepted update is lost if
its round was settled and says nothing of it; it is counted twice if two releases count it, or if
the child takes it for counted twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nodes.errors import NodeError
from nodes.state.event_codec import read
from nodes.state.events import (
    ChainInstalled,
    LedgerEvent,
    NodeCreated,
    OfferCounted,
    Released,
    RoundClosed,
    RoundOpened,
    UpdateAccepted,
    UpdateSent,
)
from nodes.state.ledger import Ledger
from nodes.state.records import ZERO
from protocol import ReleaseKind, VerdictKind


@dataclass
class Audit:
    """The findings over one or several nodes; names of nodes stand before each.

    Attributes:
        accepted: updates that parents accepted.
        counted: of these, the ones that a release counts.
        lost, doubled, broken: one sentence for each finding, none if all is well.
    """

    accepted: int = 0
    counted: int = 0
    events: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


@dataclass
class _Side:
    """What one ledger says as a child, and as a parent."""

    node: str = ""
    sent: set[str] = field(default_factory=set)
    heard: Counter[str] = field(default_factory=Counter)
    installed: int = 0
    counts: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Of each update that a release counts, the child and the version."""


def audit(folders: Iterable[Path]) -> Audit:
    """Read and verify the ledgers of these nodes; a damaged one is a finding."""
    found, sides = Audit(), list[tuple[str, _Side]]()
    for folder in folders:
        try:
            with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
                found.events += ledger.verify()
                sides.append((folder.name, _follow(folder.name, map(read, ledger.events()), found)))
        except NodeError as error:
            found.broken.append(f"{folder.name}: {error.sentence}")
    children = {side.node: (name, side) for name, side in sides}
    for parent, side in sides:
        for update, (child, version) in side.counts.items():
            if child in children:
                name, below = children[child]
                unheard = update in below.sent and not below.heard[update]
                if unheard and version <= below.installed:
                    found.doubled.append(
                        f"{parent} counts {update[:12]}, and {name} offers it again"
                    )
    return found


def _follow(name: str, events: Iterable[LedgerEvent], found: Audit) -> _Side:
    """Follow every update of one ledger."""
    side = _Side()
    accepted: set[str] = set()
    seated: dict[str, str] = {}
    counted: Counter[str] = Counter()
    for event in events:
        match event:
            case NodeCreated():
                side.node = event.node
            case UpdateAccepted():
                update = str(event.seat.update)
                if update in accepted:
                    found.doubled.append(f"{name} accepted {update[:12]} twice")
                accepted.add(update)
                seated[event.child] = update
            case Released(kind=ReleaseKind.ROUND):
                named = {str(verdict.update) for verdict in event.verdicts}
                for update in sorted(set(seated.values()) - named):
                    found.lost.append(f"{name}: round {event.round} lost {update[:12]}")
                for verdict in event.verdicts:
                    if verdict.verdict is VerdictKind.ACCEPTED:
                        counted[str(verdict.update)] += 1
                        side.counts[str(verdict.update)] = verdict.node, event.held.version
                seated = {}
            case RoundOpened():
                for update in seated.values():
                    found.lost.append(f"{name}: round {event.round} opened over {update[:12]}")
                seated = {}
            case RoundClosed():
                seated = {}
            case UpdateSent() if event.copy != ZERO:
                side.sent.add(str(event.update))
            case OfferCounted():
                side.heard[str(event.update)] += 1
            case ChainInstalled():
                side.installed = event.chain[-1].version
    found.accepted += len(accepted)
    found.counted += len(counted)
    twice = [f"{name} counts {u[:12]} {n} times" for u, n in counted.items() if n > 1]
    twice += [f"{name} heard of {u[:12]} {n} times" for u, n in side.heard.items() if n > 1]
    strange = [f"{name} counts {u[:12]}, never accepted" for u in counted if u not in accepted]
    found.doubled += twice + strange
    return side
