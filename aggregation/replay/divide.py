"""Divide documents into disjoint parts by a keyed hash.

A document's part depends on its text, the key and the shares only: not on its place, nor on which
other documents there are. So a document never wanders from training into probes, and without the
key nobody can compute its part.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Mapping
from itertools import accumulate

from aggregation.errors import AggregationError


def keyed_hash(text: str, key: bytes) -> bytes:
    """Compute HMAC-SHA-256 of the UTF-8 text: 32 bytes, unpredictable without the key."""
    return hmac.digest(key, text.encode(), hashlib.sha256)


def canonical_text(text: str) -> str:
    """Normalise a text so that copies compare equal: NFC, each run of white space one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def divide(text: str, key: bytes, shares: Mapping[str, float]) -> str:
    """Choose the part that a document belongs to.

    Args:
        text: the document, to the letter; see ``canonical_text`` for copies that differ in form.
        key: secret where the parts are to be.
        shares: the parts and how much of all documents each gets; at least 0, sum 1.

    Raises:
        AggregationError: ``bad-shares``.
    """
    return part_of(keyed_hash(text, key), shares)


def part_of(digest: bytes, shares: Mapping[str, float]) -> str:
    """Choose the part of a document whose keyed hash is known; see ``divide``."""
    if any(share < 0 for share in shares.values()) or not abs(sum(shares.values()) - 1) <= 1e-9:
        raise AggregationError(
            "bad-shares", f"Shares must be at least 0 and sum to 1, got {dict(shares)}."
        )
    at = int.from_bytes(digest[:6], "big") / 2**48  # exact in a float, in [0, 1)
    names = list(shares)
    ends = zip(names, accumulate(shares.values()), strict=True)
    # The last part takes what rounding of the sum leaves over.
    return next((name for name, end in ends if at < end), names[-1])
