"""What a node's ledger says about it, for a person: the source of ``banyan node status``.

Reads the ledger only; the node may be running or not. The demo's live tree and its report use the
same figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nodes.errors import NodeError
from nodes.state.ledger import Ledger


@dataclass(frozen=True)
class Probed:
    """What the gate measured on one source: at its first gate and of what is held since the last.

    Means in nats per token, higher is worse; None where they are not finite. What safety probes
    score may be negative.
    """

    kind: str
    first: float | None
    now: float | None
    probes: int


@dataclass
class Status:
    """Counts since the node was made; the loss is the last that its gate measured.

    ``loss`` is over the ordinary sources; ``sources`` has each source of probes by itself.
    ``members`` are the names of all who were enrolled, ``revoked`` the ids of those who are out.
    """

    node: str = ""
    scope: str = ""
    version: int = 0
    round: int = 0
    round_open: bool = False
    tolerates: int = 0
    members: dict[str, str] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    releases: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    late: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    outvoted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    refused_by_child: dict[str, Counter[str]] = field(default_factory=dict)
    door: Counter[str] = field(default_factory=Counter)
    bytes_in: int = 0
    bytes_out: int = 0
    gates_passed: int = 0
    gates_refused: int = 0
    first_loss: float | None = None
    loss: float | None = None
    sources: dict[str, Probed] = field(default_factory=dict)
    trained_rounds: int = 0
    trained_tokens: int = 0
    trained_seconds: float = 0.0
    last_event_ms: int = 0
    upto: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        # Not ``asdict``: it makes a counter of what it counts in a counter.
        told = {of.name: getattr(self, of.name) for of in fields(self)}
        return told | {"sources": {name: asdict(of) for name, of in self.sources.items()}}

    def take(self, kind: str, body: Mapping[str, Any], at_ms: int) -> None:
        """Count one event."""
        self.last_event_ms = at_ms
        match kind:
            case "node-created":
                self.node, self.scope = body["node"], body["scope"]
            case "member-enrolled":
                self.members[body["child"]] = body["name"]
                self.revoked = [child for child in self.revoked if child != body["child"]]
            case "member-revoked":
                self.revoked.append(body["child"])
            case "round-opened":
                self.round, self.round_open = body["round"], True
                self.tolerates = body["tolerates"]
            case "round-closed":
                self.round_open = False
            case "update-accepted":
                self.accepted += 1
                self.late += body["late"]
            case "update-refused":
                self._refuse(body["child"], body["code"])
            case "door-refused":
                self.door[body["code"]] += body["count"]
            case "gate":
                passed = body["accepted"]
                self.gates_passed += passed
                self.gates_refused += not passed
                if self.first_loss is None:
                    self.first_loss = body["before"]
                now = "after" if passed else "before"
                self.loss = body[now]
                for of in body["sources"]:
                    known = self.sources.get(of["source"])
                    first = known.first if known else of["before"]
                    probed = Probed(of["kind"], first, of[now], of["count"])
                    self.sources[of["source"]] = probed
            case "released":
                self.version = body["held"]["version"]
                self.releases[body["kind"]] += 1
                if body["kind"] == "round":
                    self.round_open = False
                for verdict in body["verdicts"]:
                    self.counted[verdict["node"]] += verdict["verdict"] == "accepted"
                    self.outvoted[verdict["node"]] += verdict["verdict"] == "outvoted"
                    if verdict["code"] == "quarantined":
                        self._refuse(verdict["node"], "quarantined")
            case "traffic":
                self.bytes_in += body["bytes_in"]
                self.bytes_out += body["bytes_out"]
            case "trained":
                self.trained_rounds += 1
                self.trained_tokens += body["measured"]["tokens"]
                self.trained_seconds += body["measured"]["seconds"]

    def _refuse(self, child: str, code: str) -> None:
        self.refused[code] += 1
        self.refused_by_child.setdefault(child, Counter())[code] += 1


class StatusReader:
    """Follows one ledger; ``read`` takes in what is new since the last call."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger.sqlite"
        self.status = Status()

    def read(self) -> Status:
        """The status as of now.

        Raises ``NodeError`` ``no-node`` when there is no ledger yet.
        """
        if not self._path.exists():
            raise NodeError("no-node", f"There is no node in {self._path.parent}.")
        with Ledger.open_read_only(self._path) as ledger:
            for event in ledger.events(after=self.status.upto):
                self.status.take(event.kind, event.body, event.at_ms)
                self.status.upto = event.seq
        return self.status
