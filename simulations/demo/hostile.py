"""The demo's malicious device: an enrolled member that sends scaled, sign-flipped deltas.

It runs the ordinary daemon with a child that poisons what it learned: first grossly, which
admission refuses, then within the norm that is allowed, which the trimmed mean outvotes. It also
leaks what it sends to the intruder, an accomplice without membership.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nodes.child.child import Blobs, Child, Offer
from nodes.daemon import run
from protocol import LIMITS, Task

GROSS = -1000.0
SUBTLE = -8.0


class SignFlipper(Child):
    """A device that wants its parent to unlearn."""

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

    def _train(self, task: Task) -> Offer:
        offer = super()._train(task)
        gross = task.round == 1 and task.attempt == 1
        # Just inside the limit, so that nothing but the other children's votes stands against it.
        factor = GROSS if gross else SUBTLE
        flipped = factor * offer.delta
        if not gross:
            flipped *= min(1.0, 0.9 * LIMITS.max_update_norm / float((flipped**2).sum() ** 0.5))
        return replace(offer, delta=flipped)


def run_hostile(config: Path) -> None:
    """Run the malicious device of a ``node.toml``."""
    run(config, make_child=SignFlipper)
