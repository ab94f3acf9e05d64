"""What a scope has sent up since a version: what a rollback with ``--cascade`` withdraws above."""

from __future__ import annotations

from nodes.state.node import Node


def promoted_since(node: Node, version: int) -> list[int]:
    """The parent's versions that counted offers made after this node's own ``version``."""
    sent: dict[str, int] = {}
    counted: list[int] = []
    for event in node.ledger.events(["update-sent", "offer-counted"]):
        body = event.body
        if event.kind == "update-sent":
            sent[body["update"]] = body.get("version", 0)
        elif sent.get(body["update"], 0) > version:
            counted.append(body["version"])
    return counted
