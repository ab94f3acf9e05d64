"""Wrap a node's roles as ordinary Flower apps, on the Message API.

``answer`` is what a ``ClientApp`` does with a message, ``serve`` what a ``ServerApp`` does with a
grid. The daemon calls them over its own links; ``nodes.flower.flwr_run`` registers them for stock
``flwr run``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from nodes.child.child import Child
from nodes.errors import NodeError
from nodes.flower.messages import Packer, pack, unpack
from nodes.parent.parent import Parent
from nodes.parent.tasks import Request
from protocol import NodeId, ProtocolError

log = structlog.get_logger()

LEAST_SHARED = 64 * 1024
"""Bytes of a chain from which it lies in a message's second array, which is stored once for all."""

REFUSED_BY_CHILD = 1
"""The Flower error code of a child that refused what its parent sent."""


# -- the child's side -------------------------------------------------------------------------


def answer(child: Child, message: Message) -> Message:
    """Answer one message from the parent; refuse one that does not verify, with its code."""
    try:
        kind, blobs = unpack(message.content)
        match kind:
            case "task":
                return Message(pack(*child.answer(blobs)), reply_to=message)
            case "lend":
                return Message(pack(*child.lend(blobs)), reply_to=message)
        raise NodeError("unknown-kind", f"A parent sends tasks, not {kind}.")
    except (ProtocolError, NodeError) as error:
        log.warning("task-refused", code=str(error.code), why=error.sentence)
        return Message(Error(REFUSED_BY_CHILD, str(error.code)), reply_to=message)


def make_client_app(child: Child) -> ClientApp:
    """Make the ClientApp of a node that is already open, as the daemon uses it."""
    app = ClientApp()

    @app.train()
    def train(message: Message, _: Context) -> Message:
        return answer(child, message)

    return app


# -- the parent's side ------------------------------------------------------------------------


@dataclass
class _Waiting:
    request: Request
    pushed_at: float


def serve(
    grid: Grid,
    parent: Parent,
    flower_ids: Callable[[], Mapping[NodeId, int]],
    *,
    poll_s: float,
    stop: threading.Event,
    abandon: Callable[[str], None] = lambda _: None,
) -> None:
    """Drive a parent over a grid until ``stop`` is set or the parent has finished.

    Args:
        flower_ids: which Flower node each enrolled child is, as far as it is known now.
        abandon: frees a message whose answer nobody waits for any more.
    """
    waiting: dict[str, _Waiting] = {}
    try:
        _drive(grid, parent, flower_ids, poll_s, stop, abandon, waiting)
    finally:
        for message_id in waiting:
            abandon(message_id)


def _drive(
    grid: Grid,
    parent: Parent,
    flower_ids: Callable[[], Mapping[NodeId, int]],
    poll_s: float,
    stop: threading.Event,
    abandon: Callable[[str], None],
    waiting: dict[str, _Waiting],
) -> None:
    """Send what the parent asks, and hand it what comes back; ``waiting`` is what is under way."""
    outbox: dict[NodeId, Request] = {}
    while not stop.is_set():
        known = flower_ids()
        outbox.update((request.child, request) for request in parent.step())
        if parent.finished and not outbox:
            break
        # A task for a child that is not connected waits here until it is, or until a newer one.
        online = set(grid.get_node_ids()) if outbox else set()
        ready = [child for child in outbox if known.get(child) in online]
        if ready:
            _push(grid, [(outbox.pop(child), known[child]) for child in ready], waiting)
        names = {flower_id: child for child, flower_id in known.items()}
        answers = list(grid.pull_messages(list(waiting))) if waiting else []
        for reply in answers:
            entry = waiting.pop(reply.metadata.reply_to_message_id, None)
            sender = names.get(reply.metadata.src_node_id)
            if entry and sender:
                asked = _take(parent, entry.request, sender, reply)
                outbox.update((request.child, request) for request in asked)
        for message_id in _overdue(waiting):
            del waiting[message_id]
            abandon(message_id)
        if not answers:
            stop.wait(poll_s)


def _push(
    grid: Grid, requests: Sequence[tuple[Request, int]], waiting: dict[str, _Waiting]
) -> None:
    """Send requests, each to the Flower node beside it; what they share is packed once."""
    packer = Packer()
    messages = [
        grid.create_message(
            content=packer.pack(request.kind, request.blobs, _shared(request.blobs)),
            message_type="train",
            dst_node_id=dst,
            group_id=str(request.round),
            ttl=_ttl(request),
        )
        for request, dst in requests
    ]
    for (request, _), message_id in zip(requests, grid.push_messages(messages), strict=True):
        if message_id:
            # The message has the parts now: they need not be held a second time.
            waiting[message_id] = _Waiting(replace(request, blobs={}), time.monotonic())
        else:
            log.warning("not-delivered", child=request.child[:12], round=request.round)


def _shared(blobs: Mapping[str, bytes]) -> set[str]:
    """Name the parts of a task that other children get too, where that saves memory.

    An array more is a request more, so that small parts stay with the task.
    """
    others = {name: blob for name, blob in blobs.items() if name != "task"}
    return set(others) if sum(map(len, others.values())) >= LEAST_SHARED else set()


def _take(parent: Parent, request: Request, sender: NodeId, reply: Message) -> list[Request]:
    if reply.has_error():
        log.warning("child-error", child=sender[:12], why=reply.error.reason)
        return []
    try:
        kind, blobs = unpack(reply.content)
    except ProtocolError:
        kind, blobs = "malformed", {}
    return parent.receive(sender, request.task, kind, blobs)


def _ttl(request: Request) -> float:
    """Return the seconds for which a message is kept: late answers still count for a while."""
    return max(60.0, 2 * (request.deadline_ms / 1000 - time.time()))


def _overdue(waiting: Mapping[str, _Waiting]) -> list[str]:
    now = time.monotonic()
    return [m for m, w in waiting.items() if now - w.pushed_at > _ttl(w.request) + 60]
