"""The content of a training run, and its description for ledger and log: counts, no text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aggregation.replay import Portion, Shift
from nodes.state.records import ShiftMeasured, TrainingMeasured
from nodes.text.watched_folder import Scan

if TYPE_CHECKING:
    from nodes.model.learned import Learned


@dataclass(frozen=True)
class Lesson:
    """The content of a training run.

    Attributes:
        fresh: id → text that was not yet learned from; if there is none, the run repeats ``old``.
        old: what was learned from before, by source.
        portion: how much of the run is ``old``.
        shift: how the fresh text relates to the old; None if there is not both.
        scan: what came in by the watched folder; None without one.
    """

    fresh: Mapping[str, str]
    old: Mapping[str, Sequence[str]]
    portion: Portion
    shift: Shift | None
    scan: Scan | None

    @property
    def documents(self) -> int:
        """The number of documents in all."""
        return len(self.fresh) + sum(map(len, self.old.values()))

    def measured(self, learned: Learned, step: float | None = None) -> TrainingMeasured:
        """Describe a run of this lesson by counts and measures.

        Args:
            step: how much of what was learned a personal device keeps.
        """
        return TrainingMeasured(
            first_loss=learned.losses[0],
            last_loss=learned.losses[-1],
            tokens=learned.tokens,
            seconds=learned.seconds,
            replayed=dict(learned.replayed),
            fresh=len(self.fresh),
            old={source: len(texts) for source, texts in self.old.items()},
            share=self.portion.share,
            length=self.portion.length,
            shift=_shift_measured(self.shift) if self.shift else None,
            arrived=arrived(self.scan) if self.scan else None,
            step=step,
        )


def _shift_measured(shift: Shift) -> ShiftMeasured:
    return ShiftMeasured(
        kind=shift.kind.value, statistic=shift.statistic, p=shift.p, nearest=shift.nearest
    )


def arrived(scan: Scan) -> dict[str, int]:
    """Count the results of a scan for the ledger and the log."""
    return {
        "files": len(scan.read),
        "added": scan.added,
        "known": scan.known,
        "waiting": len(scan.waiting),
        "refused": len(scan.refused),
    }
