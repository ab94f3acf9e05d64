"""Reading a parent's releases for what became of the updates this node sent.

What was counted must not be offered again: the baseline becomes the copy that was sent. What a
rollback undid, or the parent withdrew, counts no longer: it is taken out of the baseline, and of
every copy that is still under way, and so is on offer again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import structlog

from nodes.releases.chain import Fetch, Link, verify_release
from nodes.releases.publish import WITHDRAWN
from nodes.state.node import Entries, Node
from nodes.state.records import ZERO
from nodes.state.vectors import Vector
from protocol import Digest, Release, Verdict, VerdictKind

log = structlog.get_logger()


def read(node: Node, latest: Link, fetch: Fetch) -> Digest | None:
    """Record what the parent's releases since the last one seen say of this node's updates.

    Walks back from the newest release, so that no verdict is skipped, and records all of it in one
    step. Returns a release that is missing for that; then nothing was recorded.

    Raises ``Refused`` for a release that does not verify.
    """
    with node.lock:
        state = node.state
        if not state.sent and not state.counted_offers:
            return None
        verdicts: list[tuple[int, Verdict]] = []
        for found in _since(node, latest, fetch):
            if not isinstance(found, Release):
                return found
            mine = [v for v in found.verdicts if v.node == node.home.node and v.update != ZERO]
            verdicts += [(found.version, verdict) for verdict in reversed(mine)]
        entries = _entries(node, latest.release, verdicts[::-1])
        node.record_all([*entries, ("receipts-read", {"upto": latest.digest})])
    return None


def _since(node: Node, latest: Link, fetch: Fetch) -> Iterator[Release | Digest]:
    """The parent's releases after the last one seen, newest first; a digest if one is missing."""
    parent, seen = node.home.parent, node.state.seen_parent_release
    assert parent is not None  # noqa: S101  a root follows nobody
    release, at = latest.release, latest.digest
    while at != seen:
        yield release
        at = release.previous
        if at in (ZERO, seen):
            return
        envelope = fetch(at)
        if envelope is None:
            yield at
            return
        release, _ = verify_release(envelope, parent, node.home.network)


def _entries(node: Node, latest: Release, verdicts: list[tuple[int, Verdict]]) -> Entries:
    """The ledger's events for verdicts in the order in which they were given."""
    state = node.state
    copies = {update: node.vector(sent.copy) for update, sent in state.sent.items()}
    counted = {c.update: node.vector(c.delta) for c in state.counted_offers}
    baseline = node.vector(state.baseline)
    entries: list[tuple[str, dict[str, Any]]] = []
    for version, verdict in verdicts:
        update = verdict.update
        if verdict.code == WITHDRAWN and update in counted:
            delta = counted.pop(update)
            baseline = baseline - delta
            copies = {u: _less(copy, delta) for u, copy in copies.items()}
            taken: dict[str, Any] = {"update": update, "baseline": node.keep(baseline)}
            taken["copies"] = {u: node.keep(copy) for u, copy in copies.items()}
            entries.append(("offer-withdrawn", taken))
        elif update in copies:
            copy = copies.pop(update)
            undone = any(version in span for span in latest.undone)
            if verdict.verdict is VerdictKind.ACCEPTED and not undone:
                counted[update] = copy - baseline
                kept_delta = node.keep(counted[update])
                body = {"update": update, "version": version, "delta": kept_delta}
                entries.append(("offer-counted", body))
                baseline = copy
            else:
                entries.append(("offer-settled", {"update": update}))
        log.info("verdict", update=update, verdict=verdict.verdict, code=verdict.code)
    return entries


def _less(copy: Vector, delta: Vector) -> Vector:
    lessened: Vector = copy - delta
    return lessened
