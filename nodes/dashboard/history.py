"""What a node's ledger says about its releases and its candidates: ``banyan node history``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nodes.state.event_codec import read
from nodes.state.events import ChainInstalled, GateJudged, Released, RoundClosed
from nodes.state.ledger import LedgerEntry
from protocol import NodeId, ReleaseKind, VerdictKind


@dataclass
class HistoryEntry:
    """One release, or one round that became none.

    Attributes:
        version: of the release; None where nothing was released.
        what: the kind of release, or how the round ended.
        standing: False once a rollback has taken the version back.
        tries: what the gate judged for it, one event for each step that was tried.
    """

    at_ms: int
    what: str
    version: int | None = None
    round: int | None = None
    standing: bool = True
    tries: list[GateJudged] = field(default_factory=list)
    accepted: list[NodeId] = field(default_factory=list)
    outvoted: list[NodeId] = field(default_factory=list)
    refused: list[NodeId] = field(default_factory=list)
    release: str = ""
    why: str = ""


KINDS = tuple(cls.KIND for cls in (GateJudged, Released, RoundClosed, ChainInstalled))
"""The kinds of event of which a history is made."""


def history(entries: Iterable[LedgerEntry]) -> list[HistoryEntry]:
    """The releases and refused rounds of a ledger, the oldest first."""
    lines: list[HistoryEntry] = []
    tries: list[GateJudged] = []
    share: float | None = None
    for entry in entries:
        match read(entry):
            case GateJudged() as judged:
                tries.append(judged)
            case ChainInstalled() as installed:
                share = installed.share
            case RoundClosed() as closed:
                why = closed.sentence or ""
                lines.append(
                    HistoryEntry(
                        entry.at_ms, closed.outcome, round=closed.round, tries=tries, why=why
                    )
                )
                tries = []
            case Released() as released:
                of_round = released.kind is ReleaseKind.ROUND
                lines.append(_release(entry.at_ms, released, tries if of_round else [], share))
                tries = [] if of_round else tries
                for line in lines:
                    line.standing = not any(
                        after < (line.version or 0) <= until for after, until in released.undone
                    )
    return lines


def _release(
    at_ms: int, event: Released, tries: list[GateJudged], share: float | None
) -> HistoryEntry:
    return HistoryEntry(
        at_ms,
        event.kind,
        event.held.version,
        event.round or None,
        tries=tries,
        accepted=_nodes(event, VerdictKind.ACCEPTED),
        outvoted=_nodes(event, VerdictKind.OUTVOTED),
        refused=_nodes(event, VerdictKind.REFUSED),
        release=event.held.release,
        why=_why(event, share),
    )


def _nodes(event: Released, verdict: VerdictKind) -> list[NodeId]:
    return [v.node for v in event.verdicts if v.verdict is verdict]


def _why(event: Released, share: float | None) -> str:
    if event.kind is ReleaseKind.REBASE and share is not None:
        return f"followed the chain above with share {share:g}"
    if event.kind is ReleaseKind.BY_HAND:
        return f"a person added the adapter {event.moved[:12]}…"
    if event.kind is ReleaseKind.ROLLBACK:
        after, until = event.undone[-1]
        return f"back to version {after}; {after + 1} to {until} stand no longer"
    return ""
