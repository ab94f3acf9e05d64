"""Everything that Banyan uses of flwr's internals, in this one file: the two links of a node.

Written for flwr 1.41, to which ``pyproject.toml`` pins it; ``tests/nodes/flower`` is the contract.
``Downlink`` serves Flower's SuperLink app to a parent's children and gives the parent a ``Grid``.
``Uplink`` connects a child to its parent's SuperLink and calls a ``ClientApp`` directly. Neither
knows what the messages say.
"""

from __future__ import annotations

import datetime
import hashlib
import random
import socket
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import structlog
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.app.metadata import Metadata
from flwr.clientapp import ClientApp
from flwr.common.constant import (
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    SUPERLINK_NODE_ID,
    TIMESTAMP_HEADER,
    TIMESTAMP_TOLERANCE,
    TRANSPORT_TYPE_GRPC_RERE,
    ErrorCode,
)
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, PushMessagesRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node as NodeMessage
from flwr.proto.runtime_pb2 import GetNodesRequest, PullAppMessagesRequest, PushAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLEET_HTTP_SIGNATURE_HEADER,
    NOOP_FEDERATION_ID,
    TaskType,
)
from flwr.supercore.date import now as flower_now
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import (
    bytes_to_public_key,
    public_key_to_bytes,
    verify_signature,
)
from flwr.superlink.servicer.runtime import runtime_handlers
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from nodes.flower.guard import Checks, Closed, Guard, Traffic
from nodes.flower.keys import load_transport_key
from nodes.flower.tls import TlsFiles

log = structlog.get_logger()

HEARTBEAT_S = 10.0
"""Seconds between heartbeats of a child; Flower takes nothing shorter."""
TASK_HEARTBEAT_S = 15.0
"""Seconds between signs of life of a run; Flower fails it after 60 without."""
BACKOFF_S = (0.2, 5.0)
"""The first and the longest wait before a child tries to connect again."""

# An object that is still being uploaded is asked for again soon; Flower's own default is a second.
_pull = partial(pull_objects, initial_backoff=0.02)


# -- the parent's side ------------------------------------------------------------------------


class Downlink:
    """A SuperLink for a parent's children, in this process, behind TLS and a guard.

    Args:
        on_refused: hears a stable code and a detail of everything that the door kept out.
    """

    def __init__(
        self, *, host: str, port: int, tls: TlsFiles, on_refused: Callable[[str, str], None]
    ) -> None:
        # Importing the app costs most of a second and only parents need it.
        from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
        from flwr.superlink.config_loader import SuperLinkLifespanConfig, load_control_authn_plugin
        from flwr.superlink.main import create_app

        config = SuperLinkLifespanConfig(
            control_address="",
            health_server_address=None,
            host=host,
            port=port,
            insecure=False,
            certificates=None,
            superexec_auth_secret=None,
            authn_plugin=load_control_authn_plugin(),
            event_log_plugin=None,
            fleet_event_log_plugin=None,
            enable_event_log=False,
            artifact_provider=None,
            enable_supernode_auth=True,
            fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
            fleet_api_address=None,
            simulation=False,
            ssl_ca_certfile=str(tls.ca),
            ssl_certfile=str(tls.certificate),
            ssl_keyfile=str(tls.key),
            database=":flwr-in-memory:",
            isolation="process",
            runtime_dependency_install=False,
        )
        app = create_app(config, SuperLinkLifespan)
        self._state = app.state.linkstate_factory.state()
        self.traffic = Traffic()
        checks = Checks(self._authenticate, _senders, FLEET_HTTP_SIGNATURE_HEADER.lower())
        guard = Guard(app, checks, on_refused, self.traffic)
        # IPPROTO_TCP named, or asyncio does not switch Nagle's algorithm off.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self._server = uvicorn.Server(
            uvicorn.Config(
                guard,
                log_config=None,
                access_log=False,
                lifespan="on",
                ssl_certfile=str(tls.certificate),
                ssl_keyfile=str(tls.key),
                timeout_graceful_shutdown=2,
            )
        )
        self._thread = threading.Thread(target=self._serve, name="superlink", daemon=True)
        self._grid = InProcessGrid(self._state)
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="run-heartbeat", daemon=True)

    @property
    def address(self) -> str:
        """``host:port`` as bound."""
        host, port = self._socket.getsockname()[:2]
        return f"{host}:{port}"

    def start(self) -> None:
        """Listen; returns when connections are accepted."""
        self._socket.listen(128)
        self._thread.start()
        self._heart.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the SuperLink did not start; its error is in the log")
            time.sleep(0.01)

    def stop(self) -> None:
        """Close every connection and end the threads."""
        self._stop.set()
        self._server.should_exit = True
        for thread in (self._thread, self._heart):
            if thread.is_alive():
                thread.join(10)
        self._socket.close()

    def admit_child(self, transport_public_pem: bytes) -> int:
        """Let this key in; returns its Flower node id, which is derived from the key."""
        public = load_pem_public_key(transport_public_pem)
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise ValueError("a transport key is an EC key")
        raw = public_key_to_bytes(public)
        wanted = int.from_bytes(hashlib.sha256(raw).digest()[:8], "big") >> 1
        with self._state.lock:
            if raw in self._state.node_public_key_to_node_id:
                return int(self._state.node_public_key_to_node_id[raw])
            # Flower draws node ids at random. With ids that follow from the key, a child's saved
            # id is still right after its parent was restarted.
            drawn = self._state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, raw, HEARTBEAT_S)
            info = self._state.nodes.pop(drawn)
            info.node_id = wanted
            self._state.nodes[wanted] = info
            self._state.node_public_key_to_node_id[raw] = wanted
            owned = self._state.owner_to_node_ids[NOOP_FLWR_AID]
            owned.discard(drawn)
            owned.add(wanted)
        return wanted

    def remove_child(self, flower_id: int) -> None:
        """Let this child in no more."""
        with self._state.lock:
            self._state.delete_node(NOOP_FLWR_AID, flower_id)
            keys = self._state.node_public_key_to_node_id
            for raw in [raw for raw, node in keys.items() if node == flower_id]:
                del keys[raw]

    def grid(self) -> Grid:
        """The grid on which a ``ServerApp`` reaches the children, without leaving the process."""
        return self._grid

    def abandon(self, message_id: str) -> None:
        """Free a message whose answer nobody waits for, and its answer if it came."""
        answers = self._state.message_ins_id_to_message_res_id
        store = self._state.object_store
        with self._state.lock:
            answer = answers.get(message_id)
        self._state.delete_messages(message_ins_ids={message_id})
        for object_id in (message_id, answer):
            if object_id:
                store.delete(object_id)

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    def _beat(self) -> None:
        while not self._stop.wait(TASK_HEARTBEAT_S):
            self._grid.keep_alive()

    def _authenticate(self, headers: MutableMapping[str, str]) -> int:
        """What Flower checks later too, here before the body is read."""
        try:
            raw = b64decode(headers[FLEET_HTTP_PUBLIC_KEY_HEADER.lower()], validate=True)
            signature = b64decode(headers[FLEET_HTTP_SIGNATURE_HEADER.lower()], validate=True)
            stamp = headers[TIMESTAMP_HEADER.lower()]
            signed_at = datetime.datetime.fromisoformat(stamp)
            age = (flower_now() - signed_at).total_seconds()
        except (KeyError, ValueError, TypeError):
            raise Closed(401, "no-transport-key", "unsigned request") from None
        node = self._state.node_public_key_to_node_id.get(raw)
        if node is None:
            name = hashlib.sha256(raw).hexdigest()[:12]
            raise Closed(401, "unknown-transport-key", f"key {name}")
        if abs(age) > TIMESTAMP_TOLERANCE:
            raise Closed(401, "expired-request", f"node {node}")
        if not verify_signature(bytes_to_public_key(raw), stamp.encode("ascii"), signature):
            raise Closed(401, "bad-request-signature", f"node {node}")
        return int(node)


def _senders(body: bytes) -> Iterable[int]:
    """The node ids in whose names pushed messages speak, and the one that pushes them."""
    try:
        request = PushMessagesRequest.FromString(body)
    except Exception:
        raise Closed(400, "malformed-request", "not what a child pushes") from None
    named = [message.metadata.src_node_id for message in request.messages_list]
    return [request.node.node_id, *named]


class InProcessGrid(Grid):
    """Flower's grid by function calls on the SuperLink's state instead of HTTP."""

    def __init__(self, state: Any) -> None:
        self._state = state
        self._me = NodeMessage(node_id=SUPERLINK_NODE_ID)
        self._lock = threading.Lock()
        self._task = self._start_run()

    def _start_run(self) -> Any:
        run_id = self._state.create_run(
            None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        (task,) = self._state.get_tasks(run_ids=[run_id])
        self._state.claim_task(task.task_id)
        self._state.activate_task(task.task_id)
        return task

    def keep_alive(self) -> None:
        """Tell Flower that the run is alive; begin another when it was failed meanwhile."""
        with self._lock:
            if not self._state.acknowledge_task_heartbeat(self._task.task_id):
                log.warning("run-restarted", run=self._task.run_id)
                old, self._task = self._task, self._start_run()
                self._state.cleanup_run(old.run_id)

    def set_run(self, run: Any) -> None:
        """The run is this grid's own."""

    @property
    def run(self) -> Any:
        """Run information."""
        return self._state.get_run_info(run_ids=[self._task.run_id])[0]

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message to a child; ``ttl`` in seconds."""
        metadata = Metadata(
            run_id=self._task.run_id,
            message_id="",
            src_node_id=SUPERLINK_NODE_ID,
            dst_node_id=dst_node_id,
            reply_to_message_id="",
            group_id=group_id,
            created_at=flower_now().timestamp(),
            ttl=ttl or 3600.0,
            message_type=message_type,
        )
        return make_message(metadata, content)

    def get_node_ids(self) -> Iterable[int]:
        """The children that are connected."""
        answer = runtime_handlers.get_nodes(GetNodesRequest(), self._state, self._task)
        return [node.node_id for node in answer.nodes]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to Flower; returns their ids, empty for those it did not take."""
        ids: list[str] = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = message.object_id
            request = PushAppMessagesRequest(
                messages_list=[message_to_proto(remove_content_from_message(message))],
                message_object_trees=[get_object_tree(message)],
            )
            answer = runtime_handlers.push_messages(request, self._state, self._task)
            push_objects(
                get_all_nested_objects(message),
                make_push_object_fn_protobuf(
                    self._call(runtime_handlers.push_object),
                    self._me,
                    self._task.run_id,
                    answer.session_id,
                ),
                object_ids_to_push=set(answer.objects_to_push),
            )
            ids += answer.message_ids
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The answers to these messages that have arrived; each is given out once."""
        request = PullAppMessagesRequest(message_ids=list(message_ids))
        answer = runtime_handlers.pull_messages(request, self._state, self._task)
        return [
            self._inflate(proto, tree)
            for proto, tree in zip(answer.messages_list, answer.message_object_trees, strict=True)
        ]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push messages and wait for their answers, at most ``timeout`` seconds."""
        waiting = {message_id for message_id in self.push_messages(messages) if message_id}
        until = time.monotonic() + (timeout if timeout is not None else float("inf"))
        replies: list[Message] = []
        while waiting and time.monotonic() < until:
            for reply in self.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                replies.append(reply)
            time.sleep(0.05)
        return replies

    def _inflate(self, proto: Any, tree: Any) -> Message:
        message_id = proto.metadata.message_id
        try:
            contents = _pull(
                [part.object_id for part in iterate_object_tree(tree)],
                make_pull_object_fn_protobuf(
                    self._call(runtime_handlers.pull_object), self._me, self._task.run_id
                ),
            )
        except ObjectPullError as error:
            lost = message_from_proto(proto)
            return make_message(
                lost.metadata, error=Error(ErrorCode.MESSAGE_UNAVAILABLE, str(error))
            )
        self._state.object_store.delete(message_id)
        message = inflate_object_from_contents(message_id, contents)
        message.metadata.__dict__["_message_id"] = message_id
        return message

    def _call(self, handler: Callable[..., Any]) -> Callable[[Any], Any]:
        return lambda request: handler(request, self._state, self._task)


# -- the child's side -------------------------------------------------------------------------


class FleetClient:
    """The calls a child makes to its parent's SuperLink. Raises ``httpx.HTTPError``."""

    def __init__(self, address: str, ca_pem: bytes, transport_key_pem: bytes) -> None:
        key = load_transport_key(transport_key_pem)
        self._public = public_key_to_bytes(key.public_key())
        self.traffic = Traffic()
        self._client = FleetHttpClient.from_server_address(
            address,
            False,
            ca_pem,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                NodeAuthHttpInterceptor(key, key.public_key()),
            ],
        )
        self.node_id = 0

    def activate(self, saved: int | None = None) -> int:
        """Become online; returns the Flower node id. A saved id that is still online is kept."""
        if saved is not None:
            self.node_id = saved
            try:
                if self.heartbeat():
                    return saved
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.UNAUTHORIZED:
                    raise
        request = ActivateNodeRequest(public_key=self._public, heartbeat_interval=HEARTBEAT_S)
        self.node_id = int(self._client.ActivateNode(request).node_id)
        return self.node_id

    def heartbeat(self) -> bool:
        """Say that this node is alive; whether the parent knows it."""
        request = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT_S)
        return bool(self._client.SendNodeHeartbeat(request).success)

    def pull(self) -> Message | None:
        """The next message for this node, whole, or None."""
        answer = self._client.PullMessages(PullMessagesRequest(node=self._node))
        if not answer.messages_list:
            return None
        proto, tree = answer.messages_list[0], answer.message_object_trees[0]
        run_id, message_id = proto.metadata.run_id, proto.metadata.message_id
        contents = _pull(
            [part.object_id for part in iterate_object_tree(tree)],
            make_pull_object_fn_protobuf(self._client.PullObject, self._node, run_id),
        )
        self.traffic.bytes_in += sum(map(len, contents.values()))
        make_confirm_message_received_fn_protobuf(
            self._client.ConfirmMessageReceived, self._node, run_id
        )(message_id)
        message = inflate_object_from_contents(message_id, contents)
        message.metadata.__dict__["_message_id"] = message_id
        return message

    def push(self, message: Message) -> None:
        """Send an answer."""
        message.metadata.__dict__["_message_id"] = message.object_id
        request = PushMessagesRequest(
            node=self._node,
            messages_list=[message_to_proto(remove_content_from_message(message))],
            message_object_trees=[get_object_tree(message)],
            clientapp_runtime_list=[0.0],
        )
        answer = self._client.PushMessages(request)
        push = make_push_object_fn_protobuf(
            self._client.PushObject, self._node, message.metadata.run_id, answer.session_id
        )

        def counted(object_id: str, content: bytes) -> None:
            self.traffic.bytes_out += len(content)
            push(object_id, content)

        push_objects(
            get_all_nested_objects(message),
            counted,
            object_ids_to_push=set(answer.objects_to_push),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def _node(self) -> NodeMessage:
        return NodeMessage(node_id=self.node_id)


class Uplink:
    """A child's connection to its parent: reconnects for ever, calls the app, sends its answer."""

    def __init__(
        self,
        *,
        address: str,
        ca_pem: bytes,
        transport_key_pem: bytes,
        node_id_file: Path,
        poll_s: float,
    ) -> None:
        self._make = partial(FleetClient, address, ca_pem, transport_key_pem)
        self._address, self._file, self._poll_s = address, node_id_file, poll_s
        self._client: FleetClient | None = None
        self.traffic = Traffic()

    @property
    def connected(self) -> bool:
        """Whether the last call to the parent went through."""
        return self._client is not None

    def run(self, app: ClientApp, context: Context, stop: threading.Event) -> None:
        """Answer the parent's messages until ``stop`` is set; network errors only delay."""
        wait = BACKOFF_S[0]
        heart = threading.Thread(target=self._beat, args=(stop,), name="heartbeat", daemon=True)
        heart.start()
        while not stop.is_set():
            try:
                client = self._client or self._connect()
                wait = BACKOFF_S[0]
                message = client.pull()
                if message is None:
                    stop.wait(self._poll_s)
                    continue
                client.push(_called(app, message, context))
            except (httpx.HTTPError, OSError, ObjectPullError, RuntimeError) as error:
                # A reply to a run that a restarted parent forgot ends here too: it asks again.
                log.info("uplink-waits", address=self._address, why=repr(error)[:200], seconds=wait)
                self._disconnect()
                stop.wait(wait * random.uniform(0.8, 1.2))  # noqa: S311  spreads reconnections
                wait = min(2 * wait, BACKOFF_S[1])
        self._disconnect()
        heart.join(HEARTBEAT_S)

    def _connect(self) -> FleetClient:
        client = self._make()
        client.traffic = self.traffic
        try:
            saved = int(self._file.read_text("ascii")) if self._file.exists() else None
        except ValueError:
            saved = None
        try:
            node_id = client.activate(saved)
        except BaseException:
            client.close()
            raise
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(str(node_id), "ascii")
        self._client = client
        log.info("connected", address=self._address)
        return client

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client:
            client.close()

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(HEARTBEAT_S):
            try:
                if client := self._client:
                    client.heartbeat()
            except (httpx.HTTPError, OSError, RuntimeError) as error:
                log.debug("heartbeat-failed", why=repr(error)[:200])


def _called(app: ClientApp, message: Message, context: Context) -> Message:
    try:
        return app(message, context)
    except Exception as error:
        log.exception("client-app-failed")
        return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, repr(error)), reply_to=message)


def empty_context() -> Context:
    """A context for apps that keep their state elsewhere."""
    return Context(run_id=0, node_id=0, node_config={}, state=RecordDict(), run_config={})
