"""The demo's malicious device: an enrolled member that sends scaled, sign-flipped deltas.

It runs the ordinary daemon with a child that poisons what it learned: first grossly, which
admission refuses, then within the norm that is allowed, which the trimmed mean outvotes. It also
leaks what it sends to the intruder, an accomplice without membership.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nodes.child.child import Child, offer_source
from nodes.child.follow import Blobs
from nodes.child.offer import Offer, OfferSource
from nodes.config.sections import NodeConfig
from nodes.daemon import run
from nodes.learning.corpus import StoredCorpus
from nodes.learning.interfaces import Engine
from nodes.state.node import Node
from protocol import LIMITS, Task

GROSS = -1000.0
SUBTLE = -8.0


class LeakingChild(Child):
    """A child that hands what it sends to an accomplice."""

    def answer(self, blobs: Blobs) -> tuple[str, dict[str, bytes]]:
        """Answer as any device would, and leak the answer."""
        kind, parts = super().answer(blobs)
        if kind == "update":
            loot = self._node.home.folder / "loot"
            loot.mkdir(exist_ok=True)
            for name, data in parts.items():
                (loot / name).write_bytes(data)
            (loot / "complete").touch()
        return kind, parts


class FlippedOffers:
    """The offers of a device that wants its parent to unlearn."""

    def __init__(self, honest: OfferSource) -> None:
        self._honest = honest
        self._is_first = True

    def offer(self, task: Task) -> Offer:
        """What was learned, with its sign flipped and scaled."""
        offer = self._honest.offer(task)
        gross, self._is_first = self._is_first, False
        # Just inside the limit, so that nothing but the other children's votes stands against it.
        factor = GROSS if gross else SUBTLE
        flipped = factor * offer.delta
        if not gross:
            flipped *= min(1.0, 0.9 * LIMITS.max_update_norm / float((flipped**2).sum() ** 0.5))
        return replace(offer, delta=flipped)


def hostile_child(node: Node, config: NodeConfig, engine: Engine) -> Child:
    """Put the malicious device together."""
    corpus = StoredCorpus(node.home, config, node.clock)
    offers = FlippedOffers(offer_source(node, config, engine, corpus))
    return LeakingChild(node, config, engine, corpus, offers=offers)


def run_hostile(config: Path) -> None:
    """Run the malicious device of a ``node.toml``."""
    run(config, make_child=hostile_child)
