"""Measure whether text has shifted: the distance of new documents from old ones, by words.

The statistic is the Jensen-Shannon divergence of the two word distributions, in bits, less what it
is between two samples of one text, as a share of what it could be more: about 0 for text of one
kind, 1 for texts without a common word. That mean, and a p-value, come from exchanging documents
between the two samples (a permutation test: exact, whatever the lengths of the documents).

No model takes part, so the test costs milliseconds; ``docs/replay.md`` compares it with a statistic
of the model's losses.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from aggregation.replay.mixture import ALIKE, SHIFTED, Portion

Counts = NDArray[np.float32]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\d_\u3040-\u30ff\u3400-\u9fff]+")
"""A run of letters, or one character of a script that writes no spaces."""


class Kind(StrEnum):
    """The relation of new text to old. ``UNKNOWN``: there is too little of one."""

    UNKNOWN = "unknown"
    NONE = "none"
    MILD = "mild"
    STRONG = "strong"


@dataclass(frozen=True)
class ShiftPolicy:
    """The thresholds of a mild and a strong shift, and the portions to replay.

    ``mild`` and ``strong`` are thresholds of the statistic, ``level`` is for the p-value, which
    ``permutations`` estimate; ``least`` documents are needed of both, and at most ``most`` of each
    are looked at. ``alike`` or ``shifted`` is what a run replays.
    """

    mild: float = 0.08
    strong: float = 0.5
    level: float = 0.01
    permutations: int = 199
    least: int = 30
    most: int = 400
    alike: Portion = ALIKE
    shifted: Portion = SHIFTED


DEFAULT = ShiftPolicy()


@dataclass(frozen=True)
class Shift:
    """The measured shift against the ``nearest`` old source, ``""`` for all of them together.

    ``portion`` should be replayed. ``statistic`` and ``p`` are None if unknown.
    """

    kind: Kind
    portion: Portion
    statistic: float | None = None
    p: float | None = None
    nearest: str = ""


def shift(
    new: Sequence[str],
    buffered: Mapping[str, Sequence[str]],
    policy: ShiftPolicy = DEFAULT,
    seed: int = 0,
) -> Shift:
    """Compare new documents with each old source and with all together; return the nearest.

    Text like one that is known has not shifted, however many other kinds there are. Deterministic
    for a seed and the order of documents.
    """
    order = random.Random(seed)  # noqa: S311  (a sample for a test, no secret)
    olds = {s: _sample(texts, policy.most, order) for s, texts in sorted(buffered.items())}
    if len(olds) > 1:
        olds[""] = _sample([t for texts in olds.values() for t in texts], policy.most, order)
    new = _sample(new, policy.most, order)
    measured = []
    rng = np.random.default_rng(seed)
    for source, old in olds.items():
        if min(len(new), len(old)) >= policy.least:
            measured.append((*_compare(new, old, policy.permutations, rng), source))
    if not measured:
        return Shift(Kind.UNKNOWN, policy.alike)
    statistic, p, nearest = min(measured)
    kind = Kind.NONE
    if statistic >= policy.mild and p <= policy.level:
        kind = Kind.STRONG if statistic >= policy.strong else Kind.MILD
    portion = policy.alike if kind is Kind.NONE else policy.shifted
    return Shift(kind, portion, statistic, p, nearest)


def _compare(
    new: Sequence[str], old: Sequence[str], permutations: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Compute the statistic and its p-value."""
    counts = _word_counts([*new, *old])
    n, total = len(new), len(counts)
    chosen = np.zeros((permutations + 1, total), np.float32)
    chosen[0, :n] = 1
    for row in chosen[1:]:
        row[rng.permutation(total)[:n]] = 1
    ones = chosen @ counts
    divergences = _divergence(ones, counts.sum(axis=0) - ones)
    observed, exchanged = divergences[0], divergences[1:]
    usual = float(exchanged.mean())
    p = (1 + int((exchanged >= observed).sum())) / (permutations + 1)
    return float((observed - usual) / max(1 - usual, 1e-9)), p


def _word_counts(texts: Sequence[str]) -> Counts:
    """Count how often each word stands in each text: (texts, words)."""
    ids: dict[str, int] = {}
    places = [
        (row, ids.setdefault(word, len(ids)))
        for row, text in enumerate(texts)
        for word in _WORD.findall(text.casefold())
    ]
    counts = np.zeros((len(texts), len(ids)), np.float32)
    if places:
        np.add.at(counts, tuple(np.array(places).T), 1)
    return counts


def _divergence(a: Counts, b: Counts) -> NDArray[np.float64]:
    """Compute Jensen-Shannon divergences in bits between rows of counts (k, words) → (k,)."""
    p, q = (x / np.maximum(x.sum(axis=1, keepdims=True), 1) for x in (a, b))
    mean = (p + q) / 2
    entropy = [
        -(x * np.log2(x, where=x > 0, out=np.zeros_like(x))).sum(axis=1) for x in (mean, p, q)
    ]
    return np.asarray(entropy[0] - (entropy[1] + entropy[2]) / 2, np.float64)


def _sample(texts: Sequence[str], most: int, order: random.Random) -> list[str]:
    return order.sample(texts, most) if len(texts) > most else list(texts)
