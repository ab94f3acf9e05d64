"""Track which messages wait for whose answer, and so what a child may ask of its parent.

Flower authenticates connections, not messages: with a valid key, a node could answer for another,
read what was sent to another, or end another's message. So every such claim is compared with the
record of what was sent to whom. This module knows Flower's messages only by their fields.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nodes.flower.errors import Refusal
from nodes.trust.transport_keys import flower_node_id


@dataclass
class SentMessage:
    """A message that waits for its answer."""

    node: int
    objects: frozenset[str]
    expires: float  # seconds since the epoch
    answer: bytes | None = None  # the tree of the one answer that was let in
    delivered: bool = False


class Waiting:
    """The messages that wait for an answer, by id. Used from several threads.

    Args:
        most_objects: in one answer.
    """

    def __init__(self, most_objects: int) -> None:
        self._most_objects = most_objects
        self._lock = threading.Lock()
        self._sent: dict[str, SentMessage] = {}
        self._by_node: dict[int, dict[str, SentMessage]] = {}

    def __len__(self) -> int:
        return len(self._sent)

    def add(self, message_id: str, node: int, objects: Iterable[str], expires: float) -> None:
        """Add a message that is about to be sent."""
        with self._lock:
            sent = self._sent[message_id] = SentMessage(node, frozenset(objects), expires)
            self._by_node.setdefault(node, {})[message_id] = sent

    def get(self, message_id: str) -> SentMessage | None:
        """Return a waiting message; None if there is none of this id."""
        with self._lock:
            return self._sent.get(message_id)

    def drop(self, message_id: str) -> None:
        """Remove a message."""
        with self._lock:
            if sent := self._sent.pop(message_id, None):
                of_node = self._by_node[sent.node]
                of_node.pop(message_id, None)
                if not of_node:
                    del self._by_node[sent.node]

    def clear(self) -> None:
        """Remove all messages."""
        with self._lock:
            self._sent.clear()
            self._by_node.clear()

    def ids_for(self, node: int) -> list[str]:
        """Return the ids of the messages that wait for this node."""
        with self._lock:
            return list(self._by_node.get(node, ()))

    def undelivered(self, node: int) -> list[str]:
        """Return the ids of the messages that this node did not fetch yet, the oldest first."""
        with self._lock:
            messages = self._by_node.get(node, {})
            return [ident for ident, sent in messages.items() if not sent.delivered]

    def delivered(self, message_id: str) -> None:
        """Note that its node fetches this message."""
        with self._lock:
            if sent := self._sent.get(message_id):
                sent.delivered = True

    # -- what the door asks; each raises ``Refusal``

    def check_named(self, request: Any, node: int) -> None:
        """Check that a request names the node that signed it."""
        named = request.node if hasattr(request, "node") else request
        if named.node_id != node:
            raise Refusal(403, "wrong-sender", "The request names another node than its key.")

    def check_key(self, public_pem: bytes, node: int) -> None:
        """Check that a key is that of the node that signed."""
        if flower_node_id(public_pem) != node:
            raise Refusal(403, "wrong-sender", "The request names another key than its own.")

    def check_object(self, object_id: str, node: int) -> None:
        """Check that an object belongs to a message that waits for this node."""
        with self._lock:
            mine = [sent.objects for sent in self._by_node.get(node, {}).values()]
        if not any(object_id in objects for objects in mine):
            raise Refusal(403, "not-yours", "The object was not sent to this node.")

    def check_message(self, message_id: str, node: int) -> SentMessage:
        """Check that a message waits for this node."""
        sent = self.get(message_id)
        if sent is None:
            raise Refusal(410, "unexpected-answer", "Nobody waits for an answer to this message.")
        if sent.node != node:
            raise Refusal(403, "wrong-sender", "The message was sent to another node.")
        return sent

    def check_answer(self, request: Any, node: int) -> None:
        """Check that a node answers for itself, once, in one message of bounded size."""
        if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
            raise Refusal(400, "malformed", "A request carries one message and its tree.")
        metadata, tree = request.messages_list[0].metadata, request.message_object_trees[0]
        if metadata.src_node_id != node:
            raise Refusal(403, "wrong-sender", "The message names another sender than its key.")
        if metadata.message_id != tree.object_id:
            raise Refusal(400, "malformed", "The message's id is not its tree's.")
        for count, _ in enumerate(_parts(tree), 1):
            if count > self._most_objects:
                raise Refusal(413, "too-large", "The message has too many objects.")
        answer = tree.SerializeToString(deterministic=True)
        sent = self.check_message(metadata.reply_to_message_id, node)
        with self._lock:
            if sent.answer not in (None, answer):
                raise Refusal(409, "unexpected-answer", "The message was answered before.")
            sent.answer = answer


def _parts(tree: Any) -> Iterator[Any]:
    yield tree
    for child in tree.children:
        yield from _parts(child)
