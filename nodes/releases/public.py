"""What of a node's artefact store other nodes may have: one rule, whichever way they ask.

Public is what the chain consists of: releases and their adapters. Nothing else is given out: the
store also holds the deltas of single children, copies under way, and best states.
"""

from __future__ import annotations

from collections.abc import Iterator

from nodes.state.node_state import NodeState
from nodes.state.records import ZERO, HeldRelease
from protocol import Digest


def public_release(state: NodeState, digest: Digest) -> HeldRelease | None:
    """Return the release of that digest, of the chain above or the node's own."""
    above = (link for link in state.above.links if link.release == digest)
    return state.own.releases.get(digest) or next(above, None)


def public_adapters(state: NodeState, *, own: bool = True) -> frozenset[Digest]:
    """Return the adapters of the chain above, which siblings may have too, and those of the node's
    ``own`` releases, which are for its children.

    An adapter of an earlier release may not be in the store any more.
    """

    def releases() -> Iterator[HeldRelease]:
        yield from state.above.links
        if own:
            yield from state.own.releases.values()

    return frozenset(release.adapter for release in releases()) - {ZERO}
