"""Flower's ``Grid`` for a ServerApp that runs in the same process as its SuperLink's state.

Nothing in it blocks, except ``send_and_receive``, which is there to wait. A message that is lost
(its time is over, its node is gone, this process slept) comes back once, as an error reply.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

if TYPE_CHECKING:
    from nodes.flower.fleet_server import FleetServer

_LOOK_S = 0.05


class FleetGrid(Grid):
    """A grid that sends messages to children and takes their answers."""

    def __init__(self, server: FleetServer) -> None:
        self._server = server

    def set_run(self, run: Any) -> None:
        """Do nothing: the server keeps a run of its own."""

    @property
    def run(self) -> Any:
        """The run that messages belong to now, as Flower describes it."""
        return self._server.describe_run()

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message to a child; ``push_messages`` sets its run and sender."""
        return self._server.draft(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> list[int]:
        """Return the Flower ids of the children that are online."""
        return self._server.online()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages; return an id for each, "" for a node that has never connected."""
        return self._server.push_all(list(messages))

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the answers that have arrived in full, and an error for each message that is
        lost."""
        return self._server.pull(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and wait for all answers; after ``timeout`` seconds drop the rest."""
        waiting = {ident for ident in self.push_messages(messages) if ident}
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        replies: list[Message] = []
        while waiting:
            arrived = self.pull_messages(waiting)
            replies += arrived
            waiting -= {reply.metadata.reply_to_message_id for reply in arrived}
            if not waiting or time.monotonic() >= until:
                break
            time.sleep(_LOOK_S)
        for ident in waiting:
            self._server.forget(ident)
        return replies
