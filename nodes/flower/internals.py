"""What Banyan uses of flwr 1.42 beyond its public modules, at a child and at both ends.

``FleetClient`` is a child's end of Flower's fleet API over HTTPS. The parent's end is in
``fleet_server``, which a child never imports; no third module uses internals of Flower.
``tests/nodes/flower`` tests what each call relies on against the real library.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import structlog
from flwr.app import Array, Error, Message, Metadata
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
from nodes.flower.fleet_api import WAIT_HEADER
from nodes.flower.guard import DoorLimits
from nodes.flower.https import Signer, Ways, explain_refusal
from nodes.flower.messages import new_metadata
from nodes.flower.parent_clock import ParentClock
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

    def pull(self, wait_s: float = 0) -> Message | None:
        """Fetch the next message for this node, whole, or None. Flower delivers each once.

        Args:
            wait_s: whole seconds that the parent may take to answer where it has none; one that
                does not know how to wait answers at once.
        """
        node = self._node
        with _translated(), self.signer.adding({WAIT_HEADER: f"{wait_s:.0f}"} if wait_s else {}):
            response = self._fleet.PullMessages(PullMessagesRequest(node=node))
        with _translated():
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
            return assemble(described.metadata, tree.object_id, contents, self._limits)

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


def assemble(
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


def error_reply(message_id: str, src_node_id: int, error: Error) -> Message:
    """Make the reply that the parent gets in place of an answer."""
    metadata = new_metadata(src_node_id, SUPERLINK_NODE_ID, "system", reply_to=message_id)
    return make_message(metadata=metadata, error=error)
