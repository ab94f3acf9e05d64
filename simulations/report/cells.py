"""One cell's file as a summary: its figures, its counts, and thinned series of its losses.

A file is read once, line by line. The summary does not grow with the number of rounds: it has at
most ``MOST_POINTS`` points a tier over rounds and over simulated time, and the first notes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from simulations.records import (
    CellRecord,
    DoneRecord,
    LossRecord,
    MatrixRecord,
    NoteRecord,
    RoundRecord,
    TopologyRecord,
    bad_record,
    read_records,
)

MOST_POINTS = 160
MOST_NOTES = 100

Points = tuple[tuple[float, float], ...]
"""(x, y) in rising x."""


@dataclass(frozen=True)
class TierLoss:
    """The mean held-out loss over the scopes of one tier, and its mean reference lines."""

    by_round: Points
    by_time: Points
    base: float | None
    best: float | None


@dataclass(frozen=True)
class Tally:
    """Counts of rounds by outcome, of updates by what became of them, of refusals by code."""

    outcomes: Counter[str] = field(default_factory=Counter)
    updates: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add another's counts."""
        self.outcomes.update(other.outcomes)
        self.updates.update(other.updates)
        self.refused.update(other.refused)

    def count(self, record: RoundRecord) -> None:
        """Count one round and its updates."""
        self.outcomes[record.outcome] += 1
        self.updates["accepted"] += record.accepted
        self.updates["outvoted"] += record.outvoted
        self.updates["late"] += record.late
        self.updates["stand-in"] += record.stand_ins
        self.refused.update(record.refused)


@dataclass(frozen=True)
class CellSummary:
    """One finished cell; ``note_counts`` counts all notes, also those left out."""

    id: str
    name: str
    vary: Mapping[str, JsonValue]
    settings: Mapping[str, JsonValue]
    versions: Mapping[str, str]
    done: DoneRecord
    topology: TopologyRecord | None
    losses: Mapping[str, TierLoss]
    tallies: Mapping[str, Tally]
    matrices: tuple[MatrixRecord, ...]
    notes: tuple[NoteRecord, ...]
    note_counts: Counter[str]

    def final(self, name: str) -> float | None:
        """Look up a figure of the ``done`` record; None when there is none.

        NaN for a loss or a gain that is null: it was not finite, which JSON cannot say.
        """
        value = self.done.final.get(name)
        if value is None and name in self.done.final and name.startswith(("loss", "gain")):
            return math.nan
        return value

    @property
    def gain(self) -> float | None:
        """How far the loss fell below the base."""
        return self.final("gain")

    @property
    def tally(self) -> Tally:
        """All tiers together."""
        every = Tally()
        for tally in self.tallies.values():
            every.add(tally)
        return every


def read_cell(path: Path) -> CellSummary:
    """Summarise a finished cell's file.

    Raises ``NodeError`` ``bad-record`` for a damaged line, a file that does not begin with its
    cell, and one that does not end with ``done``.
    """
    head: CellRecord | None = None
    done: DoneRecord | None = None
    topology: TopologyRecord | None = None
    losses: dict[str, _Losses] = {}
    tallies: dict[str, Tally] = {}
    matrices: list[MatrixRecord] = []
    notes: list[NoteRecord] = []
    note_counts: Counter[str] = Counter()
    number = 0
    for number, record in read_records(path):
        if (head is None) != isinstance(record, CellRecord):
            raise bad_record(path, number, "a file has one cell record, and begins with it")
        if done is not None:
            raise bad_record(path, number, "nothing may follow the done record")
        match record:
            case CellRecord():
                head = record
            case TopologyRecord():
                topology = record
            case RoundRecord():
                tallies.setdefault(record.tier, Tally()).count(record)
            case LossRecord():
                losses.setdefault(record.tier, _Losses()).add(record)
            case MatrixRecord():
                matrices.append(record)
            case NoteRecord():
                note_counts[record.what] += 1
                if len(notes) < MOST_NOTES:
                    notes.append(record)
            case DoneRecord():
                done = record
    if head is None or done is None:
        raise bad_record(path, number + 1, "the file ends without a done record")
    return CellSummary(
        id=head.id,
        name=head.name,
        vary=head.vary,
        settings=head.settings,
        versions=head.versions,
        done=done,
        topology=topology,
        losses={tier: series.summary() for tier, series in losses.items()},
        tallies=tallies,
        matrices=tuple(matrices),
        notes=tuple(notes),
        note_counts=note_counts,
    )


class _Losses:
    """The losses of one tier while a file is read: plain numbers, one tuple a record."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int, str, float]] = []
        self._base: dict[str, float] = {}
        self._best: dict[str, float] = {}

    def add(self, record: LossRecord) -> None:
        loss = math.nan if record.loss is None else record.loss
        self._seen.append((record.at_s, record.round, record.scope, loss))
        if record.base is not None:
            self._base[record.scope] = record.base
        if record.best is not None:
            self._best[record.scope] = record.best

    def summary(self) -> TierLoss:
        base = _mean(self._base)
        by_round, by_time = self._by_round(), self._by_time()
        for points in (by_round, by_time):
            # Before anything is learned a scope serves the base: nobody needs to measure that.
            if base is not None and points[0][0] > 0:
                points.insert(0, (0.0, base))
        return TierLoss(thinned(by_round), thinned(by_time), base, _mean(self._best))

    def _by_round(self) -> list[tuple[float, float]]:
        # A scope that is measured twice in a round counts with the later measurement.
        rounds: dict[int, dict[str, float]] = {}
        for _, number, scope, loss in sorted(self._seen, key=lambda seen: seen[0]):
            rounds.setdefault(number, {})[scope] = loss
        return [
            (float(n), sum(losses.values()) / len(losses)) for n, losses in sorted(rounds.items())
        ]

    def _by_time(self) -> list[tuple[float, float]]:
        # A scope not measured yet stands at its base: otherwise the mean would jump whenever one
        # more scope reports.
        now = dict(self._base)
        points: list[tuple[float, float]] = []
        for at_s, _, scope, loss in sorted(self._seen, key=lambda seen: seen[0]):
            now[scope] = loss
            point = (at_s, sum(now.values()) / len(now))
            if points and points[-1][0] == at_s:
                points[-1] = point
            else:
                points.append(point)
        return points


def _mean(values: Mapping[str, float]) -> float | None:
    return sum(values.values()) / len(values) if values else None


def thinned(points: list[tuple[float, float]]) -> Points:
    """Choose at most ``MOST_POINTS`` points evenly, with the first and the last."""
    if len(points) <= MOST_POINTS:
        return tuple(points)
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return tuple(points[round(i * step)] for i in range(MOST_POINTS))
