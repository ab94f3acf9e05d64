"""A parent's end of Flower's links: a SuperLink's link state in memory, without its servers.

Beside ``internals`` the only module that uses flwr 1.42 beyond its public modules.
``tests/nodes/flower`` tests what each call relies on against the real library. Only the first
``FleetServer`` imports what only a server needs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from flwr.app import DEFAULT_TTL, Error, Message, RecordDict
from flwr.app.message.message import make_message, remove_content_from_message
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesResponse, PushMessagesRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PullObjectResponse,
)
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from google.protobuf.message import DecodeError

from nodes.flower.bells import Bells
from nodes.flower.errors import Refusal
from nodes.flower.fleet_api import FleetApi, Handler, Parts
from nodes.flower.guard import PREFIX, DoorLimits
from nodes.flower.internals import (
    ANSWER_UNREADABLE,
    HEARTBEAT_S,
    MESSAGE_LOST,
    assemble,
    error_reply,
)
from nodes.flower.messages import new_metadata
from nodes.flower.pending import Waiting

MOST_ANSWERS = 4
"""Answers that are read at a time."""

log = structlog.get_logger()


class FleetServer:
    """A SuperLink's link state, in memory, with the fleet API as ``app``. It serves nothing itself.

    Every message that waits for an answer is known here until it is answered, lost or abandoned;
    then it and all its objects are freed. Call ``beat`` at least every 15 seconds.
    """

    def __init__(self, limits: DoorLimits) -> None:
        # Imported here and not above: a device never needs them.
        from flwr.server.superlink.linkstate import LinkStateFactory
        from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
        from flwr.supercore.object_store import ObjectStoreFactory
        from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
        from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
        from flwr.superlink.federation import NoOpFederationManager

        class Store(InMemoryObjectStore):
            """Registers a tree at once: Flower's own races with a deletion of shared parts."""

            def preregister(self, run_id: int, object_tree: ObjectTree) -> list[str]:
                with self.lock_store:
                    return list(super().preregister(run_id, object_tree))

        self._limits, self._request_types = limits, PROTOBUF_REQUEST_TYPES
        objects = ObjectStoreFactory(FLWR_IN_MEMORY_DB_NAME)
        self._store = objects.store_instance = Store()
        factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), objects)
        self._state = factory.state()
        self.bells = Bells()
        self.app = FleetApi(self._handlers(), _explain_error, self.bells)
        self._lock = threading.RLock()
        self.waiting = Waiting(limits.objects)
        self._run = self._task = 0
        self._start_run()

    def _handlers(self) -> dict[str, Handler]:
        """Return what answers each route, by Flower's own handlers where that is not too slow."""
        from flwr.superlink.servicer.fleet import fleet_handlers as flowers

        state, store = self._state, self._store

        def answered(handle: Callable[..., Any], *more: Any) -> Handler:
            return lambda request: [handle(request, *more).SerializeToString()]

        return {
            PREFIX + "activate-node": answered(flowers.activate_node, state),
            PREFIX + "deactivate-node": self._deactivate,
            PREFIX + "send-node-heartbeat": answered(flowers.send_node_heartbeat, state),
            PREFIX + "pull-messages": self._next_message,
            PREFIX + "pull-object": self._object,
            PREFIX + "confirm-message-received": answered(
                flowers.confirm_message_received, state, store
            ),
            PREFIX + "push-messages": answered(flowers.push_messages, state),
            PREFIX + "push-object": answered(flowers.push_object, state),
        }

    def _deactivate(self, request: Any) -> Parts:
        """Take a node offline, and end its question for messages."""
        from flwr.superlink.servicer.fleet.fleet_handlers import deactivate_node

        self.bells.ring(request.node_id, over=True)
        return [deactivate_node(request, self._state).SerializeToString()]

    def _next_message(self, request: Any) -> Parts:
        """Return the oldest message that a node did not get yet; nothing if there is none.

        Flower looks through the messages of all nodes for it.
        """
        state, node = self._state, request.node.node_id
        for ident in self.waiting.undelivered(node):
            with state.lock:
                state._check_stored_messages({ident})
                message = state.message_ins_store.get(ident)
                if message is None:  # it is just being stored, or its time is over
                    continue
                message.metadata.delivered_at = datetime.now(UTC).isoformat()
                self.waiting.delivered(ident)
                tree = self._store.get_object_tree(ident)
                described = message_to_proto(message)
            response = PullMessagesResponse(messages_list=[described], message_object_trees=[tree])
            return [response.SerializeToString()]
        return []

    def _object(self, request: Any) -> Parts:
        """Return an object as it is stored: beside the head of the answer, not within it."""
        content = self._store.get(request.object_id)
        if not content:
            found = content is not None
            return [PullObjectResponse(object_found=found).SerializeToString()]
        head = PullObjectResponse(object_found=True, object_available=True).SerializeToString()
        return [head + _field_head(PullObjectResponse, "object_content", len(content)), content]

    # -- members

    def add(self, public_pem: bytes, node: int) -> None:
        """Register a key under this node id. Registering it again changes nothing."""
        from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID

        state = self._state
        with state.lock:
            if public_pem in state.node_public_key_to_node_id:
                return
            drawn = state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, public_pem, HEARTBEAT_S)
            info = state.nodes.pop(drawn)
            info.node_id, state.nodes[node] = node, info
            state.node_public_key_to_node_id[public_pem] = node
            state.owner_to_node_ids[NOOP_FLWR_AID] = set(state.nodes)

    def remove(self, node: int) -> None:
        """Forget a node, its key and the messages that wait for it."""
        state = self._state
        with state.lock:
            if info := state.nodes.pop(node, None):
                state.node_public_key_to_node_id.pop(info.public_key, None)
                state.owner_to_node_ids[info.owner_aid].discard(node)
        for message in self.waiting.ids_for(node):
            self.forget(message)

    def online(self) -> list[int]:
        """Return the nodes that are online, by their heartbeats."""
        return sorted(self._state.get_nodes(self._run))

    # -- the run that messages belong to

    def beat(self) -> None:
        """Keep the run alive, and free what senders left unfinished."""
        with self._lock:
            if not self._state.acknowledge_task_heartbeat(self._task):
                self._start_run()
        state, now = self._state, datetime.now(UTC)
        with state._lock_object_push_sessions:
            stale = [k for k, v in state._object_push_sessions.items() if v.expires_at <= now]
        for session in stale:
            state._cleanup_push_session(session, cleanup_messages=True)

    def _start_run(self) -> None:
        """Start a new run. A failed one (this process slept) cannot be revived: all in it is
        lost."""
        from flwr.common.constant import NOOP_FLWR_AID
        from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType

        state = self._state
        if self._run:
            log.warning("messages-lost", count=len(self.waiting), why="the run ended")
            self.waiting.clear()
            state.cleanup_run(self._run)
        self._run = state.create_run(
            None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        self._task = state.get_run_info(run_ids=[self._run])[0].primary_task_id
        state.claim_task(self._task)
        state.activate_task(self._task)

    def describe_run(self) -> Any:
        """Describe the run that messages belong to now, as Flower does."""
        return self._state.get_run_info(run_ids=[self._run])[0]

    # -- messages

    def draft(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None,
    ) -> Message:
        """Make a message, not sent yet. ``ttl``: seconds for which it and its answer count."""
        ttl = DEFAULT_TTL if ttl is None else ttl
        metadata = new_metadata(SUPERLINK_NODE_ID, dst_node_id, message_type, group_id, ttl)
        return make_message(metadata=metadata, content=content)

    def push(self, message: Message) -> str:
        """Store a message for its node; return its id, or "" when the node never connected."""
        (ident,) = self.push_all([message])
        return ident

    def push_all(self, messages: Sequence[Message]) -> list[str]:
        """Store messages as ``push`` does; what several have in common is digested once."""
        self.beat()
        with no_object_id_recompute():
            return [self._push(message) for message in messages]

    def _push(self, message: Message) -> str:
        state, run = self._state, self._run
        message.metadata.__dict__.update(_run_id=run, _src_node_id=SUPERLINK_NODE_ID)
        ident = message.object_id
        message.metadata.__dict__["_message_id"] = ident
        objects, tree = get_all_nested_objects(message), get_object_tree(message)
        metadata = message.metadata
        # Register it before it is visible: the door asks what was sent to whom.
        expires = metadata.created_at + metadata.ttl
        self.waiting.add(ident, metadata.dst_node_id, objects, expires)
        session = state.start_session(run)
        described = remove_content_from_message(message)
        stored, missing = state.store_message_and_object_tree(described, tree, session)
        for object_id in dict.fromkeys(missing):
            state.store_object(run, session, object_id, objects[object_id].deflate())
        if not stored:
            state._cleanup_push_session(session, cleanup_messages=False)
            self.forget(ident)
            return ""
        self.bells.ring(metadata.dst_node_id)
        return str(ident)

    def pull(self, message_ids: Iterable[str]) -> list[Message]:
        """Return answers that are here in full, and an error for each message that is lost.

        At most ``MOST_ANSWERS`` at a time: each is in memory several times while it is read.
        """
        replies, ask, answered = [], set(), 0
        for ident in message_ids:
            sent = self.waiting.get(ident)
            if sent is None:
                replies.append(
                    error_reply(ident, SUPERLINK_NODE_ID, Error(MESSAGE_LOST, "message-lost"))
                )
            elif not self._arriving(ident) or sent.expires < time.time():
                answered += ident in self._state.message_ins_id_to_message_res_id
                if answered > MOST_ANSWERS:
                    break
                ask.add(ident)
        for reply in self._state.get_message_res(ask, self._run) if ask else ():
            ident = reply.metadata.reply_to_message_id
            replies.append(self._read(ident, reply))
            self.forget(ident)
            self._store.delete(
                reply.metadata.message_id
            )  # what Flower itself answers is stored too
        return replies

    def forget(self, message_id: str) -> None:
        """Free a message, its answer and the objects of both; ignore unknown ids."""
        state = self._state
        self.waiting.drop(message_id)
        with state.lock:
            answer = state.message_ins_id_to_message_res_id.get(message_id)
            state.delete_messages({message_id})
        for root in (answer, message_id):
            if root is not None:
                self._store.delete(root)

    def _arriving(self, message_id: str) -> bool:
        """Return whether an answer was announced whose objects are not all here yet."""
        # Flower stores an answer, then registers its objects, all under this lock: without it, one
        # that is just announced would look like one of Flower's own, which has no objects.
        with self._state.lock, self._store.lock_store:
            answer = self._state.message_ins_id_to_message_res_id.get(message_id)
            if answer is None:
                return False
            entry = self._store.store.get(answer)
            if entry is None:
                return False
            parts = iterate_object_tree(self._store.get_object_tree(answer))
            return not all(self._store.store[part.object_id].is_available for part in parts)

    def _read(self, message_id: str, reply: Message) -> Message:
        """Read a reply with its content. Content that makes no message is its sender's error."""
        metadata = reply.metadata
        if metadata.src_node_id == SUPERLINK_NODE_ID:  # Flower's: the node is gone, or late
            return error_reply(message_id, SUPERLINK_NODE_ID, reply.error)
        try:
            parts = iterate_object_tree(self._store.get_object_tree(metadata.message_id))
            contents = {part.object_id: self._store.get(part.object_id) for part in parts}
            return assemble(metadata, metadata.message_id, contents, self._limits)
        except Exception as error:  # whatever a peer's bytes make the library raise
            log.warning("answer-unreadable", node=metadata.src_node_id, why=repr(error)[:200])
            unreadable = Error(ANSWER_UNREADABLE, "malformed")
            return error_reply(message_id, metadata.src_node_id, unreadable)

    # -- what the door asks

    def inspect(self, path: str, body: bytes, node: int) -> Any:
        """Parse a request of ``node``; refuse one that claims what is not the node's to claim."""
        try:
            request = self._request_types["POST", path].FromString(body)
        except DecodeError:
            raise Refusal(400, "malformed", "The body cannot be parsed.") from None
        if isinstance(request, ActivateNodeRequest):
            self.waiting.check_key(request.public_key, node)
            return request
        self.waiting.check_named(request, node)
        match request:
            case PushMessagesRequest():
                self.waiting.check_answer(request, node)
            case PullObjectRequest():
                self.waiting.check_object(request.object_id, node)
            case ConfirmMessageReceivedRequest():
                self.waiting.check_message(request.message_object_id, node)
        return request


def _explain_error(error: Exception) -> tuple[int, Mapping[str, Any]]:
    """Explain an error of a handler as Flower does: a status, and what a child may know."""
    from flwr.supercore.error import FlowerError
    from flwr.supercore.error.catalog import API_ERROR_MAP

    if isinstance(error, FlowerError) and (known := API_ERROR_MAP.get(error.code)):
        log.warning("request-failed", code=str(error.code), why=str(error.message)[:200])
        return known.http_status_code, error.to_json(known.public_message)
    log.error("request-failed", why=repr(error)[:200], exc_info=error)
    return 500, {"detail": "Internal server error."}


def _field_head(kind: Any, name: str, length: int) -> bytes:
    """Return what stands before the bytes of a field in an encoded protobuf message."""
    head = bytearray()
    for number in (kind.DESCRIPTOR.fields_by_name[name].number << 3 | 2, length):
        while number > 127:
            head.append(number & 127 | 128)
            number >>= 7
        head.append(number)
    return bytes(head)
