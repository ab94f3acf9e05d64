"""The contract of ``nodes.flower.internals`` with flwr: real TLS, real messages, loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from flwr.app import Message

from nodes.flower.internals import FleetClient
from nodes.flower.messages import pack, unpack
from tests.nodes.flower.links import Parent, child, key_pair, parent, wait_for

MEGABYTES = {"envelope": b"e" * 700, "payload": bytes(range(256)) * 6000}


def test_a_task_of_megabytes_goes_down_and_its_answer_up(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with child(p, key, tmp_path):
            reply = p.reply(p.send(flower_id, MEGABYTES))
            assert unpack(reply.content) == ("echo", MEGABYTES)
            assert reply.metadata.src_node_id == flower_id
        assert p.downlink.traffic.bytes_in > len(MEGABYTES["payload"])
        assert p.downlink.traffic.bytes_out > len(MEGABYTES["payload"])


def test_a_key_that_is_not_enrolled_does_not_connect(tmp_path: Path) -> None:
    stranger, _ = key_pair()
    with parent(tmp_path) as p:
        client = p.client(stranger)
        with pytest.raises(httpx.HTTPStatusError) as refused:
            client.activate()
        client.close()
        assert refused.value.response.status_code == 401
        assert p.refused[0][0] == "unknown-transport-key"


def test_a_removed_child_is_let_in_no_more(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        client = p.client(key)
        client.activate()
        p.downlink.remove_child(flower_id)
        with pytest.raises(httpx.HTTPStatusError):
            client.pull()
        client.close()


def test_a_node_with_a_valid_key_that_answers_anothers_message_is_refused(tmp_path: Path) -> None:
    (honest, honest_public), (other, other_public) = key_pair(), key_pair()
    with parent(tmp_path) as p:
        victim = p.downlink.admit_child(honest_public)
        p.downlink.admit_child(other_public)
        with pulled(p, honest, victim) as (message, _), closing(p.client(other)) as thief:
            thief.activate()
            with pytest.raises(httpx.HTTPStatusError) as refused:
                thief.push(Message(pack("echo", {}), reply_to=message))
            assert refused.value.response.status_code == 403
            assert p.refused[-1][0] == "wrong-sender"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/list-nodes",
        "/v1/runtime/pull-messages",
        "/v1/fleet/register-node",
        "/docs",
        "/openapi.json",
        "/health",
        "//v1/fleet/pull-messages",
        "/v1/fleet/../control/list-nodes",
        "/v1/fleet/%2e%2e/control/list-nodes",
        "/v1/fleet//pull-messages",
    ],
)
def test_only_the_fleet_routes_are_reachable(served: Parent, path: str) -> None:
    with httpx.Client(verify=str(served.tls.ca)) as client:
        answer = client.post(f"https://{served.downlink.address}{path}", content=b"")
    assert (answer.status_code, answer.content) == (404, b"")


def test_an_unsigned_request_is_refused_before_its_body_is_read(served: Parent) -> None:
    with httpx.Client(verify=str(served.tls.ca)) as client:
        url = f"https://{served.downlink.address}/v1/fleet/push-messages"
        assert client.post(url, content=b"x" * 100).status_code == 401
    assert served.refused[-1][0] == "no-transport-key"


def test_a_signed_header_counts_once(tmp_path: Path) -> None:
    key, public = key_pair()
    captured: list[httpx.Request] = []
    with parent(tmp_path) as p:
        p.downlink.admit_child(public)
        with closing(p.client(key)) as client:
            inner = client._client._client  # the very httpx client that flwr uses
            inner.event_hooks = {"request": [captured.append], "response": []}
            client.activate()
        with httpx.Client(verify=str(p.tls.ca)) as replayer:
            original = captured[0]
            again = replayer.post(
                original.url, content=original.content, headers=dict(original.headers)
            )
        assert again.status_code == 401
        assert p.refused[-1][0] == "replayed-request"


def test_a_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p, closing(p.client(key)) as client:
        p.downlink.admit_child(public)
        client.activate()
        inner = client._client._client
        inner.event_hooks = {"request": [_enlarge], "response": []}
        with pytest.raises((httpx.HTTPStatusError, httpx.TransportError)):
            client.pull()
        wait_for(lambda: any(code == "too-large" for code, _ in p.refused))


def test_a_child_finds_its_restarted_parent_again(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as first:
        flower_id = first.downlink.admit_child(public)
        port = int(first.downlink.address.rpartition(":")[2])
        with child(first, key, tmp_path):
            first.reply(first.send(flower_id, {"n": b"1"}))
            first.downlink.stop()
            with parent(tmp_path, port) as second:
                assert second.downlink.admit_child(public) == flower_id
                reply = second.reply(second.send(flower_id, {"n": b"2"}))
                assert unpack(reply.content)[1] == {"n": b"2"}


def test_an_abandoned_message_leaves_nothing_behind(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p, closing(p.client(key)) as client:
        flower_id = p.downlink.admit_child(public)
        client.activate()
        store = p.downlink._state.object_store
        message_id = p.send(flower_id, MEGABYTES)
        assert len(store) > 0
        p.downlink.abandon(message_id)
        assert len(store) == 0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parent]:
    with parent(tmp_path_factory.mktemp("served")) as p:
        yield p


@contextmanager
def pulled(p: Parent, key: bytes, flower_id: int) -> Iterator[tuple[Message, FleetClient]]:
    """A message that the rightful child has pulled and not answered."""
    with closing(p.client(key)) as client:
        client.activate()
        p.send(flower_id, {"n": b"1"})
        message = client.pull()
        assert message is not None
        yield message, client


def _enlarge(request: httpx.Request) -> None:
    big = b"x" * (9 * 1024 * 1024)
    request.stream = httpx.ByteStream(big)
    request.headers["content-length"] = str(len(big))
