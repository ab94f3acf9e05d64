"""The error of this package. Its codes are stable: the ledger keeps them."""

from __future__ import annotations


class AggregationError(Exception):
    """The root of this package's errors: a stable code and a sentence for a person."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code, self.sentence = code, sentence


def check_count(n: int, f: int, least: int | None = None, what: str = "any rule") -> None:
    """Refuse an f that n updates cannot carry: ``bad-f``, ``too-few-updates``.

    Args:
        n: how many updates there are, f: how many of them may be bad.
        least: how many ``what`` needs; 2f + 1 if not given.
    """
    if f < 0:
        raise AggregationError("bad-f", f"f must be a count of updates, at least 0, got {f}.")
    least = 2 * f + 1 if least is None else least
    if n < least:
        raise AggregationError(
            "too-few-updates",
            f"To tolerate {f} bad updates, {what} takes at least {least}, got {n}.",
        )
