"""Dividing a data set into disjoint parts by a keyed hash, as a node divides its own text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aggregation.replay import keyed_hash, part_of


def split(texts: Iterable[str], shares: Mapping[str, float], key: bytes) -> dict[str, list[str]]:
    """Every distinct text in exactly one part; ``shares`` name the parts and sum to 1.

    Each part is in the order of the keyed hash: mixed, and the same whatever the order of
    ``texts``. Raises ``AggregationError`` ``bad-shares``.
    """
    parts: dict[str, list[str]] = {name: [] for name in shares}
    hashed = {keyed_hash(text, key): text for text in texts}
    for digest, text in sorted(hashed.items()):
        parts[part_of(digest, shares)].append(text)
    return parts
