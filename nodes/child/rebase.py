"""Re-base a node's own adapter when the chain above it changes (DESIGN section 4).

With Δ the change of the sum of all ancestors, δ what they counted of this node's own offers since
the chain was last installed, and a share ρ in [0, 1], the adapter moves by −[(1−ρ)·Δ + ρ·δ], and
so do the baseline and every copy that was sent. The effective model changes by ρ·(Δ − δ): not at
all for ρ = 0, by the whole of federated averaging for ρ = 1.

The ledger keeps that effect. When an ancestor takes back a release, a node follows neutrally and
takes back the effects of the release: it makes no new choice, in which poison could stay. Offers of
the node that the release had counted count no longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog

from nodes.errors import NodeError
from nodes.releases.chain import Chain, Link
from nodes.releases.publish import Made, release
from nodes.state.events import ChainInstalled, LedgerEvent
from nodes.state.node import Node
from nodes.state.node_state import NodeState
from nodes.state.records import ZERO, Counted, HeldRelease, Install, Undone
from nodes.state.vectors import Vector
from protocol import Digest, ReleaseKind, Span

log = structlog.get_logger()

SHARES = (1.0, 0.5, 0.25)
"""The values of ρ to try, the largest first; 0 is always possible after them."""


@dataclass(frozen=True, eq=False)
class Change:
    """The effect of a new chain on a node below it; vectors are (d,) float32.

    Attributes:
        above: Δ.
        offered: δ.
        taken_back: the summed effects of releases that the new chain undoes.
        uncounted: the summed offers that undone releases had counted.
        undone: what of this node's past is undone.
        stands: what the change was computed from; it holds as long as this does.
    """

    above: Vector
    offered: Vector
    taken_back: Vector
    uncounted: Vector
    undone: Undone
    stands: tuple[object, ...]

    @property
    def undoes(self) -> bool:
        """Whether anything of this node's past is undone."""
        return bool(self.undone.installs or self.undone.offers)

    def effect(self, share: float) -> Vector:
        """Compute the change of the node's effective model for a share ρ."""
        following: Vector = np.float32(share) * (self.above - self.offered)
        return following - self.taken_back

    def displacement(self, share: float) -> Vector:
        """Compute the move of the node's adapter for a share ρ."""
        moved: Vector = self.effect(share) - self.above
        return moved

    @property
    def shares(self) -> tuple[float, ...]:
        """The values of ρ to try before 0: none where there is nothing to choose."""
        return () if self.undoes or not self.effect(1.0).any() else SHARES


def change_of(node: Node, chain: Chain) -> Change:
    """Compute what installing ``chain`` would change, as of now."""
    with node.lock:
        state = node.state
        installs, counted = _undone(state.above.installs, state.offers.counted, chain.links)
        zero = np.zeros(node.size, np.float32)
        return Change(
            above=chain.total - node.ancestors_total(),
            offered=_sum(node, state.offers.fresh, zero),
            taken_back=_sum(node, _kept(node, (i.effect for i in installs)), zero),
            uncounted=_sum(node, _kept(node, (offer.delta for offer in counted)), zero),
            undone=Undone(
                installs=tuple(state.above.place_of(install) for install in installs),
                offers=tuple(state.offers.place_of(offer) for offer in counted),
            ),
            stands=_stands(state),
        )


def install(node: Node, chain: Chain, change: Change, share: float) -> None:
    """Install a verified chain, one durable step; an interior node re-bases its release on it.

    A node without an adapter of its own has nothing to move: it follows as a whole.

    Args:
        change: what installing the chain changes, of ``change_of``.
        share: ρ. Where the chain undoes something it is taken as 0.

    Raises:
        NodeError: ``moved-on`` when what the node holds is not what ``change`` was computed from:
            nobody measured what this share leads to now. Nothing was recorded.
    """

    def build() -> list[LedgerEvent]:
        state = node.state
        if _stands(state) != change.stands:
            raise NodeError("moved-on", "The node's adapter moved while a new chain was judged.")
        new = [link.digest for link in chain.links]
        first = state.above.snapshot is None
        if not first and new == [link.release for link in state.above.links]:
            return [_installed(node, chain)]  # nothing above changed but the signature
        brought = _brought(state, chain)
        moved = np.zeros(node.size, np.float32)
        if first or (state.own.adapter == ZERO and node.home.is_device):
            installed = _installed(node, chain, brought=brought, undone=change.undone)
        else:
            taken = 0.0 if change.undoes else share
            moved, effect = change.displacement(taken), change.effect(taken)
            position = node.position().displaced(moved).withdrawn(change.uncounted)
            # What takes effects back is not an effect to be taken back in its turn.
            lasts = effect.any() and not change.undoes
            installed = _installed(
                node,
                chain,
                brought=brought,
                undone=change.undone,
                share=taken,
                effect=node.keep(effect) if lasts else ZERO,
                adapter=node.keep(position.adapter),
                baseline=node.keep(position.baseline),
                copies=node.keep_all(position.copies),
            )
        if node.home.is_device:
            return [installed]
        made = Made(kind=ReleaseKind.INITIAL if first else ReleaseKind.REBASE)
        return [installed, release(node, moved, made, ancestors=new)]

    node.transact(build)
    log.info("chain-installed", sequence=chain.snapshot.sequence, version=node.state.own.version)


def _stands(state: NodeState) -> tuple[object, ...]:
    """Collect all of a node's state on which a change above depends."""
    offers = state.offers
    return (
        state.own.version,
        state.own.adapter,
        state.above.snapshot,
        len(state.above.installs),
        offers.baseline,
        tuple((update, sent.copy) for update, sent in offers.sent.items()),
        tuple(offer.update for offer in offers.counted),
        tuple(offers.fresh),
    )


def _installed(node: Node, chain: Chain, **changes: Any) -> ChainInstalled:
    """Make the event that a chain is installed, with whatever it changes below."""
    return ChainInstalled(
        snapshot=chain.digest,
        envelope=node.artefacts.put(chain.envelope),
        sequence=chain.snapshot.sequence,
        chain=tuple(_held(node, link) for link in chain.links),
        **changes,
    )


def _brought(state: NodeState, chain: Chain) -> dict[str, tuple[int, int]]:
    """Return the versions of each scope above that a chain brings: (after, until]."""
    before = {link.scope: link.version for link in state.above.links}
    scopes = {str(link.release.scope): link.release.version for link in chain.links}
    return {scope: (before.get(scope, 0), version) for scope, version in scopes.items()}


def _undone(
    installs: Iterable[Install], offers: Iterable[Counted], links: Iterable[Link]
) -> tuple[list[Install], list[Counted]]:
    """Select the installs and counted offers that the releases of a chain undo."""
    spans = {str(link.release.scope): link.release.undone for link in links}
    parent = list(spans.values())[-1] if spans else ()
    return (
        [i for i in installs if _touched(i.brought, spans)],
        [c for c in offers if any(c.version in span for span in parent)],
    )


def _touched(brought: Mapping[str, tuple[int, int]], spans: Mapping[str, tuple[Span, ...]]) -> bool:
    """Return whether any of the versions that came in is among those undone."""
    return any(
        max(after, span.after) < min(until, span.until)
        for scope, (after, until) in brought.items()
        for span in spans.get(scope, ())
    )


def _held(node: Node, link: Link) -> HeldRelease:
    return HeldRelease(
        str(link.release.scope),
        link.release.version,
        link.digest,
        node.artefacts.put(link.envelope),
        node.artefacts.put(link.adapter),
    )


def _kept(node: Node, vectors: Iterable[Digest]) -> Iterator[Digest]:
    """Yield the vectors that the node still has.

    It keeps what an ancestor may take back; one that goes further back than this node's own policy
    is followed without that.
    """
    for digest in vectors:
        if digest == ZERO or node.artefacts.has(digest):
            yield digest
        else:
            log.warning("effect-not-kept", digest=digest)


def _sum(node: Node, vectors: Iterable[Digest], zero: Vector) -> Vector:
    total = zero.astype(np.float64)
    for digest in vectors:
        total += node.vector(digest)
    return total.astype(np.float32)
