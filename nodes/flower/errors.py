"""The errors of a link. Both ends use the same words: a refusal travels with its code."""

from __future__ import annotations

from nodes.errors import NodeError


class LinkError(NodeError):
    """An error between a parent and a child."""


class LinkDown(LinkError):
    """The other end gave no answer, or none that can be understood. Trying again helps."""

    def __init__(self, sentence: str, code: str = "link-down") -> None:
        super().__init__(code, sentence)


class Refusal(LinkError):
    """The other end refused the request. The same request again gets the same answer.

    Args:
        status: the HTTP status.
        code: stable; see ``nodes.flower.guard`` for those of a parent's door.
        sentence: for a person. At the door it has few distinct values, so that they can be counted.
    """

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(code, sentence)
        self.status = status
