"""Dividing documents into disjoint parts by a keyed hash.

A document's part depends on its text, the key and the shares only: not on its place, nor on which
other documents there are. So a document never wanders from training into held-out text.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from itertools import accumulate


def split(texts: Iterable[str], shares: Mapping[str, float], key: bytes) -> dict[str, list[str]]:
    """Every distinct text in exactly one part; ``shares`` name the parts and sum to 1.

    Each part is in the order of the keyed hash: mixed, and the same whatever the order of
    ``texts``. Raises ``ValueError`` for shares that are negative or do not sum to 1.
    """
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError("shares must be at least 0 and sum to 1")
    ends = list(zip(shares, accumulate(shares.values()), strict=True))
    parts: dict[str, list[str]] = {name: [] for name in shares}
    hashed = {hmac.digest(key, text.encode(), hashlib.sha256): text for text in texts}
    for digest, text in sorted(hashed.items()):
        at = int.from_bytes(digest[:6], "big") / 2**48  # exact in a float, in [0, 1)
        # The last part takes what rounding of the sum leaves over.
        parts[next((name for name, end in ends if at < end), ends[-1][0])].append(text)
    return parts
