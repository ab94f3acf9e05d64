"""Take releases back: publish an older state as a new release, and list what went up since then."""

from __future__ import annotations

from nodes.errors import NodeError
from nodes.releases.publish import Made, release
from nodes.state.event_codec import events_of
from nodes.state.events import LedgerEvent, OfferCounted, UpdateSent
from nodes.state.node import Node
from nodes.state.records import ZERO
from protocol import Digest, ReleaseKind


def roll_back(node: Node, to: int) -> int:
    """Publish the state of version ``to`` as a new release; return the new version.

    Raises:
        NodeError: ``no-version`` for a version that there is not, or that was itself undone,
            ``nothing-to-undo`` when only re-bases came since, ``no-artefact`` when the version is
            kept no longer.
    """

    def build() -> list[LedgerEvent]:
        state = node.state
        if to not in state.own.published or to >= state.own.version:
            raise NodeError(
                "no-version",
                f"{node.home.scope} has versions 1 to {state.own.version}; "
                f"it can go back to 1 to {state.own.version - 1}, not to {to}.",
            )
        if state.own.is_undone(to):
            raise NodeError("no-version", f"Version {to} was itself taken back; choose another.")
        later = [state.own.published[v].kind for v in range(to + 1, state.own.version + 1)]
        if all(kind == ReleaseKind.REBASE for kind in later):
            raise NodeError(
                "nothing-to-undo",
                f"Since version {to} {node.home.scope} has only followed the chain above it.",
            )
        _check_kept(node, to)
        target = node.vector(state.own.published[to].held.adapter)
        for version, published in state.own.published.items():
            if version > to and published.kind == ReleaseKind.REBASE:
                target += node.vector(published.moved)
        for withdrawn in state.own.withdrawn:  # what was withdrawn does not come back
            if withdrawn.version > to:
                for version, moved in withdrawn.moved.items():
                    if version <= to:
                        target += node.vector(moved)
        made = Made(kind=ReleaseKind.ROLLBACK)
        displacement = target - node.vector(state.own.adapter)
        spans = [s for s in state.own.undone if s[1] < to]
        return [release(node, displacement, made, undone=(*spans, (to, state.own.version)))]

    node.transact(build)
    return node.state.own.version


def _check_kept(node: Node, to: int) -> None:
    """Check that all of which the state of version ``to`` is made is still stored.

    Raises ``NodeError`` ``no-artefact``, which names the oldest version that is.
    """
    if _is_kept(node, to):
        return
    own = node.state.own
    oldest = next((v for v in range(to, own.version) if _is_kept(node, v)), own.version)
    raise NodeError(
        "no-artefact",
        f"Version {to} of {node.home.scope} is kept no longer ([retention] rollback_versions and "
        f"max_bytes); the oldest that can be brought back is {oldest}.",
    )


def _is_kept(node: Node, to: int) -> bool:
    own = node.state.own
    if to not in own.published or own.is_undone(to):
        return False
    wanted = {own.published[to].held.adapter}
    wanted |= {
        published.moved
        for version, published in own.published.items()
        if version > to and published.kind == ReleaseKind.REBASE
    }
    wanted |= {
        moved
        for withdrawn in own.withdrawn
        if withdrawn.version > to
        for version, moved in withdrawn.moved.items()
        if version <= to
    }
    return all(digest == ZERO or node.artefacts.has(digest) for digest in wanted)


def promoted_since(node: Node, version: int) -> list[int]:
    """List the parent's versions that counted offers made after this node's own ``version``."""
    sent: dict[Digest, int] = {}
    counted: list[int] = []
    for event in events_of(node.ledger, UpdateSent, OfferCounted):
        match event:
            case UpdateSent():
                sent[event.update] = event.version
            case OfferCounted() if sent.get(event.update, 0) > version:
                counted.append(event.version)
    return counted
