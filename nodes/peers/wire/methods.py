"""The calls of ``protocol/peer.proto``, read from its descriptor: one table for both ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from protocol import peer_pb2

PACKAGE = "banyan.peer.v1"
PEER, ENROLMENT = "Peer", "Enrolment"


@dataclass(frozen=True)
class Method:
    """One call: its path on the wire, its messages, and which side streams."""

    service: str
    name: str
    request: type[Message]
    reply: type[Message]
    streams_in: bool
    streams_out: bool

    @property
    def path(self) -> str:
        """As HTTP/2 names it."""
        return f"/{PACKAGE}.{self.service}/{self.name}"


def encode(message: Message) -> bytes:
    """Write a message."""
    return message.SerializeToString()


def decoder(message: type[Message]) -> Callable[[bytes], Message]:
    """Return the reader of one kind of message."""

    def decode(data: bytes) -> Message:
        return message.FromString(data)

    return decode


def _methods() -> Mapping[str, Method]:
    methods: dict[str, Method] = {}
    for service in (PEER, ENROLMENT):
        for described in peer_pb2.DESCRIPTOR.services_by_name[service].methods:
            # The descriptor knows which side streams only in its serialised form.
            proto: Any = _proto_of(service, described.name)
            methods[described.name] = Method(
                service,
                described.name,
                getattr(peer_pb2, described.input_type.name),
                getattr(peer_pb2, described.output_type.name),
                proto.client_streaming,
                proto.server_streaming,
            )
    return methods


def _proto_of(service: str, name: str) -> object:
    from google.protobuf import descriptor_pb2

    file = descriptor_pb2.FileDescriptorProto.FromString(peer_pb2.DESCRIPTOR.serialized_pb)
    services = {s.name: s for s in file.service}
    return next(m for m in services[service].method if m.name == name)


METHODS = _methods()
"""Every call by its name; no two services have a call of one name."""
