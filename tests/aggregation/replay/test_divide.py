"""Claims about dividing documents into parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation import AggregationError
from aggregation.replay import canonical_text, divide

SHARES = {"training": 0.7, "probes": 0.2, "descriptors": 0.1}


def test_every_part_gets_its_share() -> None:
    parts = [divide(f"document {i}", b"key", SHARES) for i in range(4000)]
    for part, share in SHARES.items():
        assert parts.count(part) / len(parts) == pytest.approx(share, abs=0.03)


def test_without_the_key_the_part_cannot_be_told() -> None:
    texts = [f"document {i}" for i in range(4000)]
    same = sum(divide(t, b"one", SHARES) == divide(t, b"two", SHARES) for t in texts)
    by_chance = sum(share**2 for share in SHARES.values())
    assert same / len(texts) == pytest.approx(by_chance, abs=0.04)


@pytest.mark.parametrize("shares", [{"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": float("nan")}, {}])
def test_shares_that_are_none_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(AggregationError, match="bad-shares"):
        divide("text", b"key", shares)


@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1)))
def test_copies_that_differ_in_white_space_are_one_document(words: list[str]) -> None:
    assert canonical_text(" ".join(words)) == canonical_text("\n\t " + " \r\n".join(words) + "\n")


def test_copies_that_differ_in_how_accents_are_written_are_one_document() -> None:
    assert canonical_text("n\u0303") == canonical_text("\u00f1")
