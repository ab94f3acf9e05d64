"""What a node's ledger says about its releases and its candidates: ``banyan node history``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nodes.state.ledger import Event


@dataclass
class Entry:
    """One release, or one round that became none.

    Attributes:
        version: of the release; None where nothing was released.
        what: the kind of release, or how the round ended.
        standing: False once a rollback has taken the version back.
        tries: the gate's verdicts, each a step with losses before and after, in all and of every
            source, and the reasons.
        accepted, outvoted, refused: nodes, by their ids.
    """

    at_ms: int
    what: str
    version: int | None = None
    round: int | None = None
    standing: bool = True
    tries: list[dict[str, Any]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    outvoted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    release: str = ""
    why: str = ""


KINDS = ("gate", "released", "round-closed", "chain-installed")


def history(events: Iterable[Event]) -> list[Entry]:
    """The releases and refused rounds of a ledger, the oldest first."""
    entries: list[Entry] = []
    tries: list[dict[str, Any]] = []
    share: float | None = None
    for event in events:
        body = event.body
        match event.kind:
            case "gate":
                tries.append(dict(body))
            case "chain-installed":
                share = body.get("share")
            case "round-closed":
                entry = Entry(event.at_ms, body["outcome"], round=body["round"], tries=tries)
                entry.why = body.get("sentence", "")
                entries.append(entry)
                tries = []
            case "released":
                of_round = body["kind"] == "round"
                entries.append(_release(event, tries if of_round else [], share))
                tries = [] if of_round else tries
                for entry in entries:
                    entry.standing = not any(
                        after < (entry.version or 0) <= until for after, until in body["undone"]
                    )
    return entries


def _release(event: Event, tries: list[dict[str, Any]], share: float | None) -> Entry:
    body = event.body
    of: dict[str, list[str]] = {}
    for verdict in body["verdicts"]:
        of.setdefault(verdict["verdict"], []).append(verdict["node"])
    entry = Entry(event.at_ms, body["kind"], body["held"]["version"], tries=tries)
    entry.round = body["round"] or None
    entry.release = body["held"]["release"]
    entry.accepted = of.get("accepted", [])
    entry.outvoted = of.get("outvoted", [])
    entry.refused = of.get("refused", [])
    if body["kind"] == "rebase" and share is not None:
        entry.why = f"followed the chain above with share {share:g}"
    if body["kind"] == "by-hand":
        entry.why = f"a person added the adapter {body['moved'][:12]}…"
    if body["kind"] == "rollback":
        after, until = body["undone"][-1]
        entry.why = f"back to version {after}; {after + 1} to {until} stand no longer"
    return entry
