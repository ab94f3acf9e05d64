"""Everything that Banyan uses of flwr 1.42 beyond its public modules, and nothing else.

Two objects: ``FleetClient``, a child's end of Flower's fleet API over HTTPS, and ``FleetServer``, a
SuperLink's link state with that API as an ASGI app and a ``Grid`` that works on the state directly.
The app lacks the control and runtime APIs of a SuperLink. ``tests/nodes/flower`` tests what each
call relies on against the real library. Only the first ``FleetServer`` imports what only a server
needs (SQLAlchemy, FastAPI; 40 MB and a second).
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import structlog
from flwr.app import DEFAULT_TTL, Array, Error, Message, Metadata, RecordDict
from flwr.app.message.message import make_message, remove_content_from_message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_body,
    get_object_head_values_from_object_content,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supernode.fleet_http_client import FleetHttpClient
from google.protobuf.message import DecodeError

from nodes.flower.diagnosis import explain_failure
from nodes.flower.errors import LinkDown, Refusal
from nodes.flower.guard import DoorLimits
from nodes.flower.https import Signer, Ways, explain_refusal
from nodes.flower.messages import new_metadata
from nodes.flower.parent_clock import ParentClock
from nodes.flower.pending import Waiting
from nodes.flower.traffic import Meter, Traffic
from nodes.machine.clock import Clock
from nodes.machine.logs import adopt
from nodes.trust.transport_keys import flower_node_id, transport_public_pem

HEARTBEAT_S = 10
"""Seconds between promised heartbeats, Flower's least. After twice that a child counts as gone."""

MESSAGE_LOST: int = ErrorCode.MESSAGE_UNAVAILABLE
ANSWER_UNREADABLE: int = ErrorCode.REPLY_MESSAGE_UNAVAILABLE
CLIENT_FAILED: int = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
"""Flower's codes of error replies: nothing will come, what came cannot be read, the app failed."""

log = structlog.get_logger()

# Flower logs every request; from it only what is wrong, and in our form.
adopt("flwr")
logging.getLogger("flwr").setLevel(logging.WARNING)


# -- the child's end --------------------------------------------------------------------------


class _Fleet(FleetHttpClient):
    """Lacks the client that Flower makes: it follows redirects, and asks proxies for loopback."""

    def __init__(self, signer: Signer) -> None:
        self._interceptors, self._retry_invoker = (signer,), None


class FleetClient:
    """The child's end: one Flower node at one parent. Every call raises ``Refusal`` or
    ``LinkDown``.

    Args:
        address: ``host:port`` of the parent.
        ca_pem: what the parent's certificate must chain to.
        transport_key_pem: the private key that the parent admitted.
        clock: the machine's; by default the real one.
    """

    def __init__(
        self, address: str, ca_pem: bytes, transport_key_pem: bytes, clock: Clock | None = None
    ) -> None:
        self._meter, self._limits, self.ways = Meter(), DoorLimits(), Ways(ca_pem)
        self._public_pem = transport_public_pem(transport_key_pem)
        self.node_id = flower_node_id(self._public_pem)
        self.signer = Signer(transport_key_pem, self._meter, ParentClock(clock))
        self._address, self._fleet = address, _Fleet(self.signer)

    @property
    def traffic(self) -> Traffic:
        """Bytes that this client received and sent."""
        return self._meter.traffic

    def connect(self, address: str = "") -> None:
        """Go online at the parent, at this address from now on; by default at the one known."""
        self._address = address or self._address
        self._fleet._base_url = f"https://{self._address}"
        self._fleet._client = self.ways.client(self._address)
        if not self.heartbeat():
            self.activate()

    def activate(self) -> None:
        """Activate this node at Flower. Refused while the node counts as online."""
        request = ActivateNodeRequest(public_key=self._public_pem, heartbeat_interval=HEARTBEAT_S)
        with _translated():
            self.node_id = self._fleet.ActivateNode(request).node_id

    def heartbeat(self) -> bool:
        """Send a heartbeat; return whether the parent knows this node by this id."""
        request = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT_S)
        with _translated():
            return bool(self._fleet.SendNodeHeartbeat(request).success)

    def deactivate(self) -> None:
        """Go offline: the parent knows at once, and not after two heartbeats."""
        with _translated():
            self._fleet.DeactivateNode(DeactivateNodeRequest(node_id=self.node_id))

    def pull(self) -> Message | None:
        """Fetch the next message for this node, whole, or None. Flower delivers each once."""
        node = self._node
        with _translated():
            response = self._fleet.PullMessages(PullMessagesRequest(node=node))
            if not response.messages_list:
                return None
            described = message_from_proto(response.messages_list[0])
            tree, run_id = response.message_object_trees[0], described.metadata.run_id
            parts = [part.object_id for part in iterate_object_tree(tree)]
            if len(parts) > self._limits.objects:
                raise ValueError(f"it has {len(parts)} objects")
            contents = pull_objects(
                parts,
                make_pull_object_fn_protobuf(self._fleet.PullObject, node, run_id),
                max_concurrent_pulls=1,  # see push
                initial_backoff=0.02,  # the default of a second is for a slow uploader
                backoff_cap=1,
                max_time=120,
            )
            confirmation = ConfirmMessageReceivedRequest(
                node=node, run_id=run_id, message_object_id=tree.object_id
            )
            self._fleet.ConfirmMessageReceived(confirmation)
            return _assemble(described.metadata, tree.object_id, contents, self._limits)

    def push(self, message: Message) -> None:
        """Send an answer made with ``Message(…, reply_to=…)``. Sending it again is harmless."""
        node, metadata = self._node, message.metadata
        with _translated(), no_object_id_recompute():
            metadata.__dict__["_message_id"] = message.object_id
            objects, tree = get_all_nested_objects(message), get_object_tree(message)
            response = self._fleet.PushMessages(
                PushMessagesRequest(
                    node=node,
                    messages_list=[message_to_proto(remove_content_from_message(message))],
                    message_object_trees=[tree],
                )
            )
            push_objects(
                objects,
                make_push_object_fn_protobuf(
                    self._fleet.PushObject, node, metadata.run_id, response.session_id
                ),
                object_ids_to_push=set(response.objects_to_push),
                keep_objects=True,
                max_concurrent_pushes=1,  # two: a refusal leaves one reading, see Uplink._close
            )

    def close(self) -> None:
        """Close the connections; no other thread may be using them."""
        self.ways.close()

    @property
    def _node(self) -> Node:
        return Node(node_id=self.node_id)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn any error of Flower's client into this project's two errors."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise explain_refusal(error.response) from None
    except ObjectPushError:
        why = "The parent takes no more of this answer."
        raise Refusal(410, "unexpected-answer", why) from None
    except (httpx.HTTPError, ssl.SSLError, OSError, RuntimeError) as error:
        raise explain_failure(error) from None
    except (ObjectPullError, DecodeError, ValueError, KeyError, TypeError) as error:
        raise LinkDown(f"The parent's message cannot be read: {error}") from None


def date(answer: Message, message: Message, elapsed_s: float) -> None:
    """Date an answer from its message and the time since, whatever this machine's clock says."""
    created_at, ttl = message.metadata.created_at, message.metadata.ttl
    answer.metadata.__dict__.update(_created_at=created_at + elapsed_s, _ttl=ttl - elapsed_s)


# -- messages on both ends --------------------------------------------------------------------


def _assemble(
    metadata: Metadata, object_id: str, contents: dict[str, bytes], limits: DoorLimits
) -> Message:
    """Assemble a message from its objects, with the metadata that came beside them.

    The objects hold metadata too, which only the sender ever saw: it is not used.
    Raises ``ValueError``, ``KeyError``, ``TypeError`` and their like for what makes no message.
    """
    _check_expansion(contents, limits.message_bytes)
    message = inflate_object_from_contents(object_id, contents)
    if not isinstance(message, Message):
        raise TypeError(f"expected a message, got {type(message).__name__}")
    if message.has_error():
        return make_message(metadata=metadata, error=message.error)
    return make_message(metadata=metadata, content=message.content)


def _check_expansion(contents: dict[str, bytes], most_bytes: int) -> None:
    """Check the unpacked size: an array lists its pieces by number, perhaps one a million times."""
    expanded = 0
    for content in contents.values():
        kind, children, _ = get_object_head_values_from_object_content(content)
        if kind == Array.__qualname__:
            numbers = json.loads(get_object_body(content, Array))["arraychunk_ids"]
            expanded += sum(len(contents[children[number]]) for number in numbers)
        if expanded > most_bytes:
            raise ValueError("its arrays unpack to more than a message may have")


def _error_reply(message_id: str, src_node_id: int, error: Error) -> Message:
    """Make the reply that the parent gets in place of an answer."""
    metadata = new_metadata(src_node_id, SUPERLINK_NODE_ID, "system", reply_to=message_id)
    return make_message(metadata=metadata, error=error)


# -- the parent's end -------------------------------------------------------------------------


class FleetServer:
    """A SuperLink's link state, in memory, with the fleet API as ``app``. It serves nothing itself.

    Every message that waits for an answer is known here until it is answered, lost or abandoned;
    then it and all its objects are freed. Call ``beat`` at least every 15 seconds.
    """

    def __init__(self, limits: DoorLimits) -> None:
        # Imported here and not above: a device never needs them.
        from fastapi import FastAPI
        from flwr.server.superlink.linkstate import LinkStateFactory
        from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
        from flwr.supercore.error import http_error_translator
        from flwr.supercore.object_store import ObjectStoreFactory
        from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
        from flwr.supercore.protobuf.translation import (
            PROTOBUF_REQUEST_TYPES,
            ProtobufTranslationMiddleware,
        )
        from flwr.superlink.federation import NoOpFederationManager
        from flwr.superlink.routers.fleet.router import router
        from starlette.middleware import Middleware
        from starlette.middleware.base import BaseHTTPMiddleware

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
        self.app = FastAPI(
            openapi_url=None,
            middleware=[
                Middleware(BaseHTTPMiddleware, dispatch=http_error_translator),
                Middleware(ProtobufTranslationMiddleware),
            ],
        )
        self.app.state.linkstate_factory = factory
        self.app.include_router(router)
        self._lock = threading.RLock()
        self.waiting = Waiting(limits.objects)
        self._run = self._task = 0
        self._start_run()

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
        self.beat()
        state, run = self._state, self._run
        message.metadata.__dict__.update(_run_id=run, _src_node_id=SUPERLINK_NODE_ID)
        with no_object_id_recompute():
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
        return str(ident)

    def pull(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the answers that are here in full, and an error for each message that is lost."""
        replies, ask = [], set()
        for ident in message_ids:
            sent = self.waiting.get(ident)
            if sent is None:
                replies.append(
                    _error_reply(ident, SUPERLINK_NODE_ID, Error(MESSAGE_LOST, "message-lost"))
                )
            elif not self._arriving(ident) or sent.expires < time.time():
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
        answer = self._state.message_ins_id_to_message_res_id.get(message_id)
        if answer is None:
            return False
        with self._store.lock_store:
            entry = self._store.store.get(answer)
            if entry is None:
                return False
            parts = iterate_object_tree(self._store.get_object_tree(answer))
            return not all(self._store.store[part.object_id].is_available for part in parts)

    def _read(self, message_id: str, reply: Message) -> Message:
        """Read a reply with its content. Content that makes no message is its sender's error."""
        metadata = reply.metadata
        if metadata.src_node_id == SUPERLINK_NODE_ID:  # Flower's: the node is gone, or late
            return _error_reply(message_id, SUPERLINK_NODE_ID, reply.error)
        try:
            parts = iterate_object_tree(self._store.get_object_tree(metadata.message_id))
            contents = {part.object_id: self._store.get(part.object_id) for part in parts}
            return _assemble(metadata, metadata.message_id, contents, self._limits)
        except Exception as error:  # whatever a peer's bytes make the library raise
            log.warning("answer-unreadable", node=metadata.src_node_id, why=repr(error)[:200])
            unreadable = Error(ANSWER_UNREADABLE, "malformed")
            return _error_reply(message_id, metadata.src_node_id, unreadable)

    # -- what the door asks

    def inspect(self, path: str, body: bytes, node: int) -> None:
        """Refuse a request of ``node`` that claims what is not the node's to claim."""
        try:
            request = self._request_types["POST", path].FromString(body)
        except DecodeError:
            raise Refusal(400, "malformed", "The body cannot be parsed.") from None
        if isinstance(request, ActivateNodeRequest):
            self.waiting.check_key(request.public_key, node)
            return
        self.waiting.check_named(request, node)
        match request:
            case PushMessagesRequest():
                self.waiting.check_answer(request, node)
            case PullObjectRequest():
                self.waiting.check_object(request.object_id, node)
            case ConfirmMessageReceivedRequest():
                self.waiting.check_message(request.message_object_id, node)
