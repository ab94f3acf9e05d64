"""A node and all below it, as ``banyan tree`` shows them: from the node's own state folder.

The node's own status is the one that its process signed last, if it runs, and else what its folder
says. Those below are the ones that were verified when they came; here they are only put in order. A
child of which there is no status is there too, as its parent sees it.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.peers.statuses.last import that_still_holds
from nodes.peers.statuses.rows import OWN, KeptRefusal, Row, StatusFile
from nodes.state.folder_lock import is_locked
from protocol import LIMITS, ChildState, Envelope, NodeId, ProtocolError, Role, Status, Tally

STALE_MS = 120_000
"""Nodes say how they are every half minute; what is older than this may be so no longer."""
_FRESH_MS = 40_000
"""A running node's own status is younger than this."""


@dataclass(frozen=True)
class TreeNode:
    """One node, as far as is known.

    Attributes:
        name: what its parent calls it.
        state, reason, since_ms: how its parent sees it; ``active`` for the node at the top.
        seen_ms: when it was last heard, 0 if it never was: by its own word where there is a status.
        status: None where there is none: it never sent one, or its parent keeps it.
        via: the names of those who passed the status on, the one next to the reader first.
    """

    node: NodeId
    name: str
    state: str = "active"
    reason: str = ""
    since_ms: int = 0
    seen_ms: int = 0
    status: Status | None = None
    via: tuple[str, ...] = ()
    children: tuple[TreeNode, ...] = ()

    @property
    def label(self) -> str:
        """The scope it owns, or its name where it owns none or none is known."""
        if self.status is None or self.status.role is Role.DEVICE:
            return self.name
        return str(self.status.scope)

    def is_stale(self, now_ms: int) -> bool:
        """Return whether its status is too old to say how it is now."""
        return self.status is not None and now_ms - self.seen_ms > STALE_MS

    @property
    def below(self) -> int:
        """The number of nodes below this one."""
        return sum(1 + child.below for child in self.children)

    def cut(self, depth: int) -> TreeNode:
        """Leave out what is more than ``depth`` levels below."""
        children = tuple(child.cut(depth - 1) for child in self.children) if depth > 0 else ()
        return replace(self, children=children)

    def to_json(self, now_ms: int) -> dict[str, Any]:
        """As plain JSON values; see docs/tree.md."""
        status = self.status
        values: dict[str, Any] = {
            "node": self.node,
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "since_ms": self.since_ms,
            "seen_ms": self.seen_ms,
            "stale": self.is_stale(now_ms),
            "via": list(self.via),
            "status": _status_json(status) if status else None,
        }
        return values | {"children": [child.to_json(now_ms) for child in self.children]}


@dataclass(frozen=True)
class Tree:
    """What a node knows of itself and of all below it.

    Attributes:
        running: whether the node's process runs.
        refused: statuses that were handed in and not taken, the latest first.
    """

    top: TreeNode
    running: bool
    now_ms: int
    refused: tuple[KeptRefusal, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; see docs/tree.md."""
        return {
            "now_ms": self.now_ms,
            "running": self.running,
            "tree": self.top.to_json(self.now_ms),
            "refused": [asdict(refusal) for refusal in self.refused],
        }


def read_tree(folder: Path, clock: Clock) -> Tree:
    """Read the tree of the node in a state folder; change nothing.

    Raises ``NodeError`` and ``ProtocolError`` for a folder that does not hold together.
    """
    now, running = clock.now_ms(), is_locked(folder)
    with _statuses(folder) as file:
        rows = file.rows() if file else []
        statements = file.statements() if file else {}
        refused = tuple(file.refusals()) if file else ()
        last = next((_read(statements[OWN, row.node]) for row in rows if row.via == OWN), None)
        fresh = last is not None and 0 <= now - last.issued_ms <= _FRESH_MS
        own = last if running and fresh else None
        if own is None and file and last:
            own = that_still_holds(folder, file, last, now)
        if own is None:
            # Only here: it loads much of what a running node has loaded.
            from nodes.peers.statuses.stopped import status_from_folder
            from nodes.state.home import open_home

            own = status_from_folder(open_home(folder, None), file, clock, last)
    below = _Below([row for row in rows if row.via != OWN], statements)
    top = TreeNode(own.node, own.name, seen_ms=now, status=own, children=below.of_own(own))
    return Tree(top, running, now, refused)


@dataclass
class _Below:
    """Puts statuses in the order of the tree."""

    rows: Sequence[Row]
    statements: Mapping[tuple[NodeId, NodeId], bytes]
    by_parent: dict[tuple[NodeId, NodeId], list[Row]] = field(init=False)
    children: dict[NodeId, Row] = field(init=False)
    placed: set[tuple[NodeId, NodeId]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.children = {row.via: row for row in self.rows if row.tier == 1}
        self.by_parent = defaultdict(list)
        for row in self.rows:
            if row.tier > 1:
                self.by_parent[row.via, row.parent].append(row)

    def of_own(self, own: Status) -> tuple[TreeNode, ...]:
        """Make the nodes below the one whose folder it is."""
        seen_as = {child.node: child for child in own.children}
        ids = [*seen_as, *(child for child in self.children if child not in seen_as)]
        nodes = [
            self._node(child, self.children.get(child), seen_as.get(child), ()) for child in ids
        ]
        return tuple(sorted(nodes, key=_order))

    def _node(
        self, node: NodeId, row: Row | None, seen_as: ChildState | None, via: tuple[str, ...]
    ) -> TreeNode:
        status = None
        if row is not None and (row.via, row.node) not in self.placed:
            self.placed.add((row.via, row.node))
            status = _read(self.statements.get((row.via, row.node), b""))
        if row is None or status is None:
            assert seen_as is not None or row is not None  # noqa: S101  else who named it?
            name = seen_as.name if seen_as else row.name if row else ""
            return TreeNode(node, name, **_seen(seen_as))
        below = self._below(row, status, (*via, row.name))
        if row.tier == 1:  # what has no place of its own any more hangs below who handed it in
            stray = (
                self._node(other.node, other, None, (row.name,))
                for others in [v for (by, _), v in self.by_parent.items() if by == row.via]
                for other in others
                if (other.via, other.node) not in self.placed
            )
            below = (*below, *stray)
        seen = _seen(seen_as) | {"seen_ms": min(row.issued_ms, row.arrived_ms)}
        return TreeNode(node, status.name, **seen, status=status, via=via, children=below)

    def _below(self, row: Row, status: Status, via: tuple[str, ...]) -> tuple[TreeNode, ...]:
        seen_as = {child.node: child for child in status.children}
        rows = {other.node: other for other in self.by_parent.get((row.via, row.node), [])}
        ids = [*seen_as, *(node for node in rows if node not in seen_as)]
        nodes = [self._node(n, rows.get(n), seen_as.get(n), via) for n in ids]
        return tuple(sorted(nodes, key=_order))


def _order(node: TreeNode) -> tuple[bool, str, str]:
    """Nodes with children of their own first, each by its name."""
    is_leaf = node.status is None or node.status.role is Role.DEVICE
    return is_leaf, node.label, node.node


def _seen(child: ChildState | None) -> dict[str, Any]:
    if child is None:
        return {}
    return {
        "state": child.state,
        "reason": child.reason,
        "since_ms": child.since_ms,
        "seen_ms": child.seen_ms,
    }


def _read(statement: bytes) -> Status | None:
    """Read a status that was verified when it was kept; None for a damaged one."""
    try:
        envelope = Envelope.decode(statement, LIMITS)
        envelope.expect(Status)
        return Status.from_bytes(envelope.payload)
    except ProtocolError:
        return None


@contextlib.contextmanager
def _statuses(folder: Path) -> Iterator[StatusFile | None]:
    """Open a node's statuses; None where there are none, or the file is damaged."""
    try:
        file = StatusFile(folder, read_only=True)
    except NodeError:
        yield None
        return
    try:
        yield file
    finally:
        file.close()


def _counts(tallies: Sequence[Tally]) -> dict[str, int]:
    return {tally.code: tally.count for tally in tallies}


def _status_json(status: Status) -> dict[str, Any]:
    return {
        "scope": str(status.scope),
        "role": status.role.value,
        "issued_ms": status.issued_ms,
        "started_ms": status.started_ms,
        "software": status.software,
        "version": status.version,
        "chain": status.chain,
        "ledger": status.ledger,
        "events": status.events,
        "round": status.round,
        "round_open": status.round_open,
        "outcome": status.outcome,
        "members": _counts(status.members),
        "refused": _counts(status.refused),
        "troubles": _counts(status.troubles),
        "disk_free": status.disk_free,
        "disk_used": status.disk_used,
        "membership_until_ms": status.membership_until_ms,
        "link_until_ms": status.link_until_ms,
        "way": status.way,
        "confined": status.confined,
        "hidden": status.hidden,
    }
