"""The mixture of a training run: new documents with a share of old ones, counted in tokens.

Documents differ in length by source; a share of documents would be another share of what is learned
from. Old sources take part equally, in tokens, whatever the buffer holds of each.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from aggregation.errors import AggregationError


@dataclass(frozen=True)
class Portion:
    """The amount of old text in a training run.

    Attributes:
        share: of the run's tokens, in [0, 1].
        length: the run's tokens, in times those of a run without old text; at least 1.
    """

    share: float
    length: float = 1.0


ONLY_NEW, ONLY_OLD = Portion(0.0), Portion(1.0)
ALIKE = Portion(0.05)
"""The portion when the new text is like the old (arXiv 2403.08763)."""
SHIFTED = Portion(0.4, 1.3)
"""The portion when the text has shifted; ``docs/forgetting.md`` has the measurements."""

Document = TypeVar("Document")


@dataclass(frozen=True)
class Drawn(Generic[Document]):
    """One document of a run; ``source`` is the old one it was replayed from, None if it is new."""

    document: Document
    source: str | None
    tokens: int


@dataclass(frozen=True)
class Mixture(Generic[Document]):
    """The documents of a run in training order, with replayed ones spread evenly."""

    drawn: tuple[Drawn[Document], ...]

    @property
    def tokens(self) -> int:
        """The number of tokens in all."""
        return sum(d.tokens for d in self.drawn)

    @property
    def replayed(self) -> dict[str, int]:
        """The number of tokens replayed from each old source."""
        by_source: dict[str, int] = {}
        for d in self.drawn:
            if d.source is not None:
                by_source[d.source] = by_source.get(d.source, 0) + d.tokens
        return by_source


def mixture(
    new: Sequence[Document],
    buffered: Mapping[str, Sequence[Document]],
    length: Callable[[Document], int],
    *,
    budget: int,
    share: float = ALIKE.share,
    seed: int,
) -> Mixture[Document]:
    """Draw the documents of one training run. Deterministic for a seed and the order of arguments.

    New documents come in epochs, each shuffled anew, until the budget ends; so do the documents of
    each old source. The next one replayed is of the source with the fewest tokens so far.

    Args:
        new: documents to learn.
        buffered: old documents by source. Sources without documents play no part.
        length: tokens of a document as it will be trained on (cut at the learner's maximum).
        budget: tokens of the whole run.
        share: of the budget, for old documents: they take at most that, less at most one document.

    Returns:
        At most ``budget`` tokens, less at most one document of each kind.

    Raises:
        AggregationError: ``bad-mixture``.
    """
    if not 0 <= share <= 1 or budget < 0:
        raise AggregationError(
            "bad-mixture",
            f"A mixture needs a share in [0, 1] and a budget of at least 0 tokens, got {share} "
            f"and {budget}.",
        )
    order = random.Random(seed)  # noqa: S311  (nobody gains by knowing the order)
    old_epochs = {s: _epochs(buffered[s], length, order) for s in sorted(buffered)}
    old = _balanced(old_epochs, int(share * budget))
    left = budget - sum(d.tokens for d in old)
    fresh = _balanced({None: _epochs(new, length, order)}, left)
    return Mixture(_spread(fresh, old))


Source = TypeVar("Source", str, None)


def _epochs(
    documents: Sequence[Document], length: Callable[[Document], int], order: random.Random
) -> Iterator[tuple[Document, int]]:
    """Yield the documents with their tokens, shuffled, again and again."""
    measured = [(document, n) for document in documents if (n := length(document)) > 0]
    while measured:
        yield from order.sample(measured, len(measured))


def _balanced(
    sources: Mapping[Source, Iterator[tuple[Document, int]]], budget: int
) -> list[Drawn[Document]]:
    """Draw from whichever source has the fewest tokens, until the next does not fit."""
    tokens = dict.fromkeys(sources, 0)
    drawn: list[Drawn[Document]] = []
    left = budget
    while tokens:
        source = min(tokens, key=lambda s: tokens[s])
        following = next(sources[source], None)
        if following is None:
            del tokens[source]
            continue
        document, n = following
        if n > left:
            break
        drawn.append(Drawn(document, source, n))
        tokens[source] += n
        left -= n
    return drawn


def _spread(new: list[Drawn[Document]], old: list[Drawn[Document]]) -> tuple[Drawn[Document], ...]:
    """Merge both sequences in their order, each evenly over the whole run."""
    placed = [
        ((i + 0.5) / len(drawn), which, d)
        for which, drawn in enumerate((new, old))
        for i, d in enumerate(drawn)
    ]
    return tuple(d for _, _, d in sorted(placed, key=lambda p: p[:2]))
