"""What a rule refuses. Codes are stable: the ledger keeps them."""

from __future__ import annotations


class AggregationError(Exception):
    """The root of this package's errors: a stable code and a sentence for a person."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code, self.sentence = code, sentence
