"""The gate's past: tests, uses of probes, and the best state ever held on each source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodes.state.events import ProbesUsed
from protocol import Digest

REMEMBERED = 32
"""Best states that are remembered for each source: those that a rollback may bring back."""


@dataclass
class GateHistory:
    """The past of the node's gate.

    Attributes:
        tests: candidates that were judged.
        uses: how often each probe of a source was drawn for a verdict that others learn.
        best_held: for each source the last best states in the order in which they came, each with
            its moment.
    """

    tests: int = 0
    uses: dict[str, dict[str, int]] = field(default_factory=dict)
    best_held: dict[str, list[tuple[int, Digest]]] = field(default_factory=dict)

    def use(self, event: ProbesUsed) -> None:
        """Count one use of each probe that was drawn."""
        for source, names in event.probes.items():
            uses = self.uses.setdefault(source, {})
            for name in names:
                uses[name] = uses.get(name, 0) + 1

    def hold_best(self, best: Mapping[str, Digest], moment: int) -> None:
        """Remember the state that is now the best for some sources."""
        for source, digest in best.items():
            states = self.best_held.setdefault(source, [])
            states.append((moment, digest))
            del states[:-REMEMBERED]

    def forget_since(self, moment: int) -> None:
        """Forget which states were best from a moment on: they held what is undone now."""
        for source, states in self.best_held.items():
            self.best_held[source] = [(at, digest) for at, digest in states if at < moment]

    def best_since(self, moment: int) -> dict[str, Digest]:
        """Return for each source the best state, where that came after a moment."""
        last = {source: states[-1] for source, states in self.best_held.items() if states}
        return {source: digest for source, (at, digest) in last.items() if at > moment}
