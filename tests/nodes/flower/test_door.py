"""What the door of a parent keeps out: claims named after what an attacker would try."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from nodes.flower.errors import Refusal
from nodes.flower.guard import DoorLimits, Timestamps
from nodes.flower.https import Signer
from nodes.flower.messages import pack, unpack
from nodes.flower.traffic import Meter
from nodes.trust.transport_keys import generate_transport_key
from tests.nodes.flower.links import Parent, key_pair, parent

PULL = "/v1/fleet/pull-messages"
PROTOBUF = {"content-type": "application/protobuf"}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parent]:
    limits = DoorLimits(body_s=0.2, message_bytes=2_000_000)
    with parent(tmp_path_factory.mktemp("door"), limits=limits) as p:
        yield p


@pytest.fixture
def member(door: Parent) -> bytes:
    """The private key of a new member."""
    key, public = key_pair()
    door.downlink.admit_child(public)
    return key


def knock(
    p: Parent, path: str, headers: dict[str, str], body: bytes = b"", method: str = "POST"
) -> int:
    """Send exactly this request line; returns the status."""
    host, _, port = p.downlink.address.rpartition(":")
    context = ssl.create_default_context(cafile=str(p.tls.ca))
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=20)
    with closing(connection):
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in ({"content-length": str(len(body))} | headers).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse().status


def signed(key: bytes) -> dict[str, str]:
    return Signer(key, Meter()).headers() | PROTOBUF


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/list-nodes",
        "/v1/runtime/pull-messages",
        "/v1/fleet/register-node",
        "/v1/fleet/get-fab",
        "/v1/fleet/",
        "/docs",
        "/openapi.json",
        "/health",
        "//v1/fleet/pull-messages",
        "/v1/fleet//pull-messages",
        "/v1/fleet/pull-messages/",
        "/v1/fleet/pull-messages?a=b",
        "/v1/fleet/../control/list-nodes",
        "/v1/fleet/%2e%2e/control/list-nodes",
        "/v1/fleet/%70ull-messages",
        "/v1/control/list-nodes#/v1/fleet/pull-messages",
        "https://127.0.0.1/v1/fleet/pull-messages",
        "https://127.0.0.1/v1/control/list-nodes",
    ],
)
def test_only_the_routes_of_a_child_are_reachable_even_for_a_member(
    door: Parent, member: bytes, path: str
) -> None:
    assert knock(door, path, signed(member)) == 404
    assert door.refused_codes[-1] == "path-not-exposed"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT"])
def test_no_other_method_is_answered(door: Parent, member: bytes, method: str) -> None:
    assert knock(door, PULL, signed(member), method=method) == 404


def test_what_is_recorded_does_not_grow_with_what_an_intruder_invents(door: Parent) -> None:
    before = len(door.refused)
    for name in ("a", "b", "c"):
        assert knock(door, f"/{name}", {}) == 404
    assert len(set(door.refused[before:])) == 1


def test_a_request_without_a_key_is_refused(door: Parent) -> None:
    assert knock(door, PULL, PROTOBUF, b"x" * 100) == 401
    assert door.refused_codes[-1] == "unknown-transport-key"


def test_a_key_that_was_not_admitted_is_refused(door: Parent) -> None:
    with door.stranger(generate_transport_key()) as client, pytest.raises(Refusal) as refused:
        client.connect()
    assert refused.value.status == 401
    assert refused.value.code == door.refused_codes[-1] == "unknown-transport-key"


def test_a_member_that_was_removed_is_refused(door: Parent, member: bytes) -> None:
    with door.client(member) as client:
        door.downlink.remove_child(client.node_id)
        with pytest.raises(Refusal, match="unknown-transport-key"):
            client.pull()


def test_a_members_key_with_anothers_signature_is_refused(door: Parent, member: bytes) -> None:
    forged = signed(generate_transport_key()) | {
        "flwr-public-key": signed(member)["flwr-public-key"]
    }
    assert knock(door, PULL, forged) == 401
    assert door.refused_codes[-1] == "bad-transport-signature"


@pytest.mark.parametrize("stamp", ["", "yesterday", "2026-01-01T00:00:00", "9" * 400])
def test_a_time_that_is_none_is_refused(door: Parent, member: bytes, stamp: str) -> None:
    assert knock(door, PULL, signed(member) | {"flwr-timestamp": stamp}) == 401
    assert door.refused_codes[-1] == "bad-transport-signature"


def test_a_signed_request_counts_once(door: Parent, member: bytes) -> None:
    with door.client(member) as client:
        headers = client.signer.headers() | PROTOBUF
    knock(door, PULL, headers)
    assert knock(door, PULL, headers) == 401
    assert door.refused_codes[-1] == "replayed-request"


def test_a_node_that_answers_anothers_message_is_refused(door: Parent, member: bytes) -> None:
    thief_key, public = key_pair()
    door.downlink.admit_child(public)
    with door.client(member) as victim, door.client(thief_key) as thief:
        message = door.pulled(victim)
        with pytest.raises(Refusal) as refused:
            thief.push(Message(pack("echo", {}), reply_to=message))
        assert refused.value.code == door.refused_codes[-1] == "wrong-sender"
        victim.push(Message(pack("mine", {}), reply_to=message))
        reply = door.reply(message.metadata.message_id)
        assert unpack(reply.content) == ("mine", {})


def test_a_node_that_answers_anothers_message_in_its_own_name_is_refused(
    door: Parent, member: bytes
) -> None:
    thief_key, public = key_pair()
    door.downlink.admit_child(public)
    with door.client(member) as victim, door.client(thief_key) as thief:
        message = door.pulled(victim)
        message.metadata.__dict__["_dst_node_id"] = thief.node_id  # an answer's sender
        with pytest.raises(Refusal, match="wrong-sender"):
            thief.push(Message(pack("echo", {}), reply_to=message))


def test_a_node_that_names_another_in_its_request_is_refused(door: Parent, member: bytes) -> None:
    thief_key, public = key_pair()
    door.downlink.admit_child(public)
    with door.client(member) as victim, door.client(thief_key) as thief:
        thief.node_id = victim.node_id
        with pytest.raises(Refusal, match="wrong-sender"):
            thief.pull()


def test_a_second_and_different_answer_is_refused(door: Parent, member: bytes) -> None:
    with door.client(member) as client:
        message = door.pulled(client)
        client.push(Message(pack("first", {}), reply_to=message))
        with pytest.raises(Refusal, match="unexpected-answer"):
            client.push(Message(pack("second", {}), reply_to=message))
        reply = door.reply(message.metadata.message_id)
        assert unpack(reply.content) == ("first", {})


def test_the_same_answer_sent_again_is_harmless(door: Parent, member: bytes) -> None:
    with door.client(member) as client:
        message = door.pulled(client)
        answer = Message(pack("first", {"a": b"b"}), reply_to=message)
        client.push(answer)
        client.push(answer)
        reply = door.reply(message.metadata.message_id)
        assert unpack(reply.content) == ("first", {"a": b"b"})


def test_an_answer_that_was_taken_cannot_be_replayed(door: Parent, member: bytes) -> None:
    with door.client(member) as client:
        message = door.pulled(client)
        answer = Message(pack("first", {}), reply_to=message)
        client.push(answer)
        door.reply(message.metadata.message_id)
        with pytest.raises(Refusal, match="unexpected-answer"):
            client.push(answer)


def test_a_body_over_its_routes_limit_is_refused_unread(door: Parent, member: bytes) -> None:
    headers = signed(member) | {"content-length": str(10**9)}
    assert knock(door, PULL, headers) == 413
    assert door.refused_codes[-1] == "too-large"


def test_a_body_without_an_end_is_refused_where_the_limit_is(door: Parent, member: bytes) -> None:
    headers = signed(member) | {"transfer-encoding": "chunked"}
    del headers["content-type"]
    chunk = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
    host, _, port = door.downlink.address.rpartition(":")
    context = ssl.create_default_context(cafile=str(door.tls.ca))
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=20)
    with closing(connection):
        connection.putrequest("POST", PULL)
        for name, value in headers.items():
            connection.putheader(name, value)
        try:
            connection.endheaders(chunk * 2)
            status = connection.getresponse().status
        except OSError:  # it answers and closes, also while more is being sent
            status = 413
    assert status == 413
    assert door.refused_codes[-1] == "too-large"


def test_a_body_that_does_not_come_is_not_waited_for(door: Parent, member: bytes) -> None:
    assert knock(door, PULL, signed(member) | {"content-length": "100"}) == 408
    assert door.refused_codes[-1] == "too-slow"


def test_an_answer_over_the_limit_is_refused(door: Parent, member: bytes) -> None:
    with door.client(member) as client:
        message = door.pulled(client)
        with pytest.raises(Refusal, match="too-large"):
            client.push(Message(pack("echo", {"x": bytes(5_000_000)}), reply_to=message))
        door.downlink.abandon(message.metadata.message_id)


def test_refused_answers_do_not_disturb_the_connections_that_follow(
    door: Parent, member: bytes
) -> None:
    # A thread that still reads from a closed connection would read from the next one.
    for _ in range(10):
        with door.client(member) as client:
            message = door.pulled(client)
            with pytest.raises(Refusal, match="too-large"):
                client.push(Message(pack("echo", {"x": bytes(2_500_000)}), reply_to=message))
            door.downlink.abandon(message.metadata.message_id)


def test_an_answer_of_too_many_objects_is_refused(door: Parent, member: bytes) -> None:
    arrays = {str(i): Array("uint8", (1,), "numpy.ndarray", bytes([i])) for i in range(100)}
    with door.client(member) as client:
        message = door.pulled(client)
        with pytest.raises(Refusal, match="too-large"):
            client.push(Message(RecordDict({"a": ArrayRecord(arrays)}), reply_to=message))


def test_an_answer_that_unpacks_to_more_than_a_message_may_have_is_unreadable(
    door: Parent, member: bytes
) -> None:
    arrays = ArrayRecord({"a": Array("uint8", (1,), "numpy.ndarray", bytes(100_000))})
    bomb = arrays["a"]
    bomb.__dict__["_chunks"] = bomb.slice_array() * 10_000  # one piece, listed 10,000 times
    with door.client(member) as client:
        message = door.pulled(client)
        content = RecordDict({"a": arrays})
        client.push(Message(content, reply_to=message))
        reply = door.reply(message.metadata.message_id)
    assert reply.metadata.src_node_id == client.node_id
    assert (reply.has_error(), reply.error.reason) == (True, "malformed")


def test_a_body_that_is_no_request_is_refused(door: Parent, member: bytes) -> None:
    assert knock(door, PULL, signed(member), b"\xff" * 40) == 400
    assert door.refused_codes[-1] == "malformed"


MOMENTS = st.integers(0, 50).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s))


@given(moments=st.lists(MOMENTS), bound=st.integers(1, 10))
def test_no_moment_is_ever_used_twice(moments: list[datetime], bound: int) -> None:
    timestamps = Timestamps(bound)
    used = [moment for moment in moments if timestamps.use(moment)]
    assert len(used) == len(set(used))


@given(moments=st.sets(MOMENTS), bound=st.integers(1, 10))
def test_new_moments_in_order_are_always_taken(moments: set[datetime], bound: int) -> None:
    timestamps = Timestamps(bound)
    assert all(timestamps.use(moment) for moment in sorted(moments))
