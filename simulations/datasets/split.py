"""Splitting documents into disjoint parts by a keyed hash (DESIGN section 6).

Where a document falls depends on the key and its text alone: adding documents moves no other, and
the same text can never be in two parts.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping


def split(texts: Iterable[str], shares: Mapping[str, float], key: bytes) -> dict[str, list[str]]:
    """Divide texts into named parts of about the given shares, in their order, without repeats.

    Raises ``ValueError`` unless the shares are positive and add up to one.
    """
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) <= 0:
        raise ValueError("shares must be positive and add up to 1")
    parts: dict[str, list[str]] = {name: [] for name in shares}
    for text in dict.fromkeys(texts):
        digest = hmac.digest(key, text.encode(), hashlib.sha256)
        at = int.from_bytes(digest[:8], "big") / 2**64
        for name, share in shares.items():
            if at < share:
                parts[name].append(text)
                break
            at -= share
        else:
            parts[name].append(text)
    return parts
