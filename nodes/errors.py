"""What can go wrong inside a node. Codes are stable: logs, ledgers and exit messages keep them."""

from __future__ import annotations


class NodeError(Exception):
    """The root of this package's errors: a stable code and a sentence for a person."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code, self.sentence = code, sentence
