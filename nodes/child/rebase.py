"""Re-basing: what a node's own adapter does when the chain above it changes (DESIGN section 4).

With Δ the change of the sum of all ancestors, δ what they counted of this node's own offers since
the chain was last installed, and a share ρ in [0, 1], the adapter moves by −[(1−ρ)·Δ + ρ·δ], and
so do the baseline and every copy that was sent. The effective model changes by ρ·(Δ − δ): not at
all for ρ = 0, by the whole of federated averaging for ρ = 1.

That effect is kept. When an ancestor takes back a release, a node follows neutrally and takes back
the effects with which the release came in: never a new choice, in which poison could stay. What
the release had counted of the node's offers counts no longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import structlog

from nodes.releases.chain import Chain, Link
from nodes.releases.publish import Made, release
from nodes.state.node import Entries, Node
from nodes.state.records import ZERO, Counted, HeldRelease, Install
from nodes.state.vectors import Vector
from protocol import Digest, ReleaseKind, Span

log = structlog.get_logger()

SHARES = (1.0, 0.5, 0.25)
"""The values of ρ that are tried, the largest first, before 0, which always may be."""


@dataclass(frozen=True, eq=False)
class Change:
    """What a new chain changes for a node below it; vectors are (d,) float32.

    Attributes:
        above: Δ.
        offered: δ.
        taken_back: the summed effects of releases that the new chain undoes.
        uncounted: the summed offers that undone releases had counted.
        undoes: whether anything of this node's past is undone.
    """

    above: Vector
    offered: Vector
    taken_back: Vector
    uncounted: Vector
    undoes: bool

    def effect(self, share: float) -> Vector:
        """How the node's effective model changes."""
        following: Vector = np.float32(share) * (self.above - self.offered)
        return following - self.taken_back

    def displacement(self, share: float) -> Vector:
        """How the node's adapter moves."""
        moved: Vector = self.effect(share) - self.above
        return moved

    @property
    def shares(self) -> tuple[float, ...]:
        """The values of ρ to try before 0: none where there is nothing to choose."""
        return () if self.undoes or not self.effect(1.0).any() else SHARES


def change_of(node: Node, chain: Chain) -> Change:
    """What installing ``chain`` would change, as of now."""
    with node.lock:
        state = node.state
        installs, counted = _undone(state.installs, state.counted_offers, chain.links)
        zero = np.zeros(node.size, np.float32)
        return Change(
            above=chain.total - node.ancestors_total(),
            offered=_sum(node, state.fresh_counts, zero),
            taken_back=_sum(node, (install.effect for install in installs), zero),
            uncounted=_sum(node, (offer.delta for offer in counted), zero),
            undoes=bool(installs or counted),
        )


def install(node: Node, chain: Chain, share: float) -> None:
    """Install a verified chain, one durable step; an interior node re-bases its release on it.

    A node without an adapter of its own has nothing to move: it follows as a whole.

    Args:
        share: ρ. Where the chain undoes something it is taken as 0.
    """

    def build() -> Entries:
        state = node.state
        body: dict[str, Any] = {
            "snapshot": chain.digest,
            "envelope": node.artefacts.put(chain.envelope),
            "sequence": chain.snapshot.sequence,
            "chain": [asdict(_held(node, link)) for link in chain.links],
        }
        new = [link.digest for link in chain.links]
        first = state.snapshot is None
        if not first and new == [link.release for link in state.ancestors]:
            return [("chain-installed", body)]  # nothing above changed but the signature
        body |= _what_came(node, chain)
        moved = np.zeros(node.size, np.float32)
        if not first and (state.adapter != ZERO or not node.home.is_device):
            change = change_of(node, chain)
            body |= _rebased(node, change, 0.0 if change.undoes else share)
            moved = node.vector(body["adapter"]) - node.vector(state.adapter)
        if node.home.is_device:
            return [("chain-installed", body)]
        made = Made(kind=ReleaseKind.INITIAL if first else ReleaseKind.REBASE)
        rebased = release(node, moved, made, ancestors=new)
        return [("chain-installed", body), ("released", rebased)]

    node.transact(build)
    log.info("chain-installed", sequence=chain.snapshot.sequence, version=node.state.version)


def _what_came(node: Node, chain: Chain) -> dict[str, Any]:
    """For the ledger: which versions a chain brings, and what of this node's past it undoes."""
    state = node.state
    before = {link.scope: link.version for link in state.ancestors}
    installs, counted = _undone(state.installs, state.counted_offers, chain.links)
    return {
        "brought": {
            str(link.release.scope): [before.get(str(link.release.scope), 0), link.release.version]
            for link in chain.links
        },
        "undone": {
            "installs": [state.installs.index(i) for i in installs],
            "offers": [state.counted_offers.index(c) for c in counted],
        },
    }


def _rebased(node: Node, change: Change, share: float) -> dict[str, Any]:
    """For the ledger: where the node's vectors are after the change."""
    state = node.state
    moved, effect = change.displacement(share), change.effect(share)
    # What takes effects back is not an effect to be taken back in its turn.
    kept = effect.any() and not change.undoes
    return {
        "share": share,
        "effect": node.keep(effect) if kept else ZERO,
        "adapter": node.keep(node.vector(state.adapter) + moved),
        "baseline": node.keep(node.vector(state.baseline) + moved - change.uncounted),
        "copies": {
            update: node.keep(node.vector(sent.copy) + moved - change.uncounted)
            for update, sent in state.sent.items()
        },
    }


def _undone(
    installs: Iterable[Install], offers: Iterable[Counted], links: Iterable[Link]
) -> tuple[list[Install], list[Counted]]:
    """Of a node's past, what the releases of a chain say is undone."""
    spans = {str(link.release.scope): link.release.undone for link in links}
    parent = list(spans.values())[-1] if spans else ()
    return (
        [i for i in installs if _touched(i.brought, spans)],
        [c for c in offers if any(c.version in span for span in parent)],
    )


def _touched(brought: Mapping[str, tuple[int, int]], spans: Mapping[str, tuple[Span, ...]]) -> bool:
    """Whether any of the versions that came in is among those undone."""
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


def _sum(node: Node, vectors: Iterable[Digest], zero: Vector) -> Vector:
    total = zero.astype(np.float64)
    for digest in vectors:
        total += node.vector(digest)
    return total.astype(np.float32)
