"""Read a parent's releases for the verdicts on the updates that this node sent.

A counted update must not be offered again: its copy becomes the baseline. An update that a rollback
undid, or that the parent withdrew, counts no longer: it is taken out of the baseline, and of every
copy that is still under way, and so is on offer again.
"""

from __future__ import annotations

from collections.abc import Iterator

import structlog

from nodes.releases.chain import Fetch, Link, verify_release
from nodes.state.events import (
    LedgerEvent,
    OfferCounted,
    OfferSettled,
    OfferWithdrawn,
    ReceiptsRead,
)
from nodes.state.fates import WITHDRAWN
from nodes.state.node import Node
from nodes.state.records import ZERO
from protocol import Digest, Release, Verdict, VerdictKind

log = structlog.get_logger()


def read(node: Node, latest: Link, fetch: Fetch) -> Digest | None:
    """Record what the parent's releases since the last one seen say of this node's updates.

    The walk goes back from the newest release, so that no verdict is skipped, and all of it is
    recorded in one step.

    Returns:
        The digest of a release that is missing; then nothing was recorded.

    Raises:
        Refused: for a release that does not verify.
    """
    with node.lock:
        state = node.state
        if not state.offers.sent and not state.offers.counted:
            return None
        verdicts: list[tuple[int, Verdict]] = []
        for release in _since(node, latest, fetch):
            if not isinstance(release, Release):
                return release  # the digest of one that is missing
            mine = [v for v in release.verdicts if v.node == node.home.id and v.update != ZERO]
            verdicts += [(release.version, verdict) for verdict in reversed(mine)]
        events = _events(node, latest.release, verdicts[::-1])
        node.record_all([*events, ReceiptsRead(upto=latest.digest)])
    return None


def _since(node: Node, latest: Link, fetch: Fetch) -> Iterator[Release | Digest]:
    """Yield the parent's releases after the last one seen, newest first; a digest if one is
    missing."""
    parent, seen = node.home.parent, node.state.offers.seen_release
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


def _events(node: Node, latest: Release, verdicts: list[tuple[int, Verdict]]) -> list[LedgerEvent]:
    """Turn verdicts into the ledger's events, in the order in which they were given."""
    counted: dict[Digest, Digest] = {o.update: o.delta for o in node.state.offers.counted}
    position = node.position()
    events: list[LedgerEvent] = []
    for version, verdict in verdicts:
        update = verdict.update
        if verdict.code == WITHDRAWN and update in counted:
            delta = counted.pop(update)
            if delta != ZERO and not node.artefacts.has(delta):
                log.warning("delta-not-kept", update=update)  # it stays counted: not offered twice
                continue
            position = position.withdrawn(node.vector(delta))
            baseline, copies = node.keep(position.baseline), node.keep_all(position.copies)
            events.append(OfferWithdrawn(update=update, baseline=baseline, copies=copies))
        elif update in position.copies:
            undone = any(version in span for span in latest.undone)
            if verdict.verdict is VerdictKind.ACCEPTED and not undone:
                position, vector = position.counted(update)
                delta = counted[update] = node.keep(vector)
                events.append(OfferCounted(update=update, version=version, delta=delta))
            else:
                position = position.settled(update)
                events.append(OfferSettled(update=update))
        log.info("verdict", update=update, verdict=verdict.verdict, code=verdict.code)
    return events
