"""The contract of ``nodes.flower`` with flwr: real TLS, real messages, loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from nodes.errors import NodeError
from nodes.flower.errors import LinkDown, Refusal
from nodes.flower.guard import DoorLimits
from nodes.flower.messages import pack, unpack
from nodes.flower.uplink import Uplink, empty_context
from tests.nodes.flower.links import WAIT_S, child, key_pair, parent, wait_for

MEGABYTES = {"envelope": b"e" * 700, "payload": bytes(range(256)) * 6000}


def test_megabytes_go_down_and_up_and_nothing_of_them_is_kept(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with child(p, key):
            reply = p.reply(p.send(flower_id, MEGABYTES))
            assert unpack(reply.content) == ("echo", MEGABYTES)
            assert reply.metadata.src_node_id == flower_id
            wait_for(lambda: p.held == 0)


def test_both_ends_count_the_same_bytes(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        p.downlink.admit_child(public)
        with p.client(key) as client:
            client.push(Message(pack("echo", MEGABYTES), reply_to=p.pulled(client, MEGABYTES)))
            down, up = p.downlink.traffic, client.traffic
        assert (down.bytes_in, down.bytes_out) == (up.bytes_out, up.bytes_in)
        assert up.bytes_in > len(MEGABYTES["payload"]) < up.bytes_out


def test_a_child_that_is_killed_and_returns_is_connected_at_once(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        p.downlink.admit_child(public)
        with p.client(key) as first, p.client(key) as again:  # the first never said goodbye
            assert again.node_id == first.node_id
            assert again.heartbeat()


def test_a_child_finds_its_restarted_parent_again(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as first:
        flower_id = first.downlink.admit_child(public)
        port = int(first.downlink.address.rpartition(":")[2])
        with child(first, key):
            first.reply(first.send(flower_id, {"n": b"1"}))
            first.downlink.stop()
            with parent(tmp_path, port) as second:
                assert second.downlink.admit_child(public) == flower_id
                reply = second.reply(second.send(flower_id, {"n": b"2"}))
                assert unpack(reply.content)[1] == {"n": b"2"}


@pytest.mark.slow
def test_an_answer_is_delivered_although_the_parent_was_away_when_it_was_ready(
    tmp_path: Path,
) -> None:
    key, public = key_pair()
    app, working, ready = ClientApp(), threading.Event(), threading.Event()

    @app.train()
    def work(message: Message, _: Context) -> Message:
        working.set()
        assert ready.wait(WAIT_S)
        return Message(pack("done", {}), reply_to=message)

    with parent(tmp_path) as first:
        flower_id = first.downlink.admit_child(public)
        port = int(first.downlink.address.rpartition(":")[2])
        with child(first, key, app) as uplink:
            message_id = first.send(flower_id, {})
            assert working.wait(WAIT_S)
            first.downlink.stop()  # the network fails; the parent's memory does not
            ready.set()
            wait_for(lambda: not uplink.connected)
            with parent(tmp_path, port, fleet=first.fleet) as second:
                second.downlink.admit_child(public)
                assert unpack(second.reply(message_id).content) == ("done", {})


def test_a_client_app_that_raises_is_answered_with_an_error(tmp_path: Path) -> None:
    key, public = key_pair()
    app = ClientApp()

    @app.train()
    def fail(_: Message, __: Context) -> Message:
        raise ZeroDivisionError("private detail")

    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with child(p, key, app):
            reply = p.reply(p.send(flower_id, {}))
        assert reply.metadata.src_node_id == flower_id
        assert (reply.has_error(), reply.error.reason) == (True, "ZeroDivisionError")


def test_a_message_to_a_child_that_left_is_lost_and_freed(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with p.client(key) as client:
            message_id = p.send(flower_id, MEGABYTES)
            client.deactivate()
        reply = p.reply(message_id)
        assert reply.has_error()
        assert reply.metadata.reply_to_message_id == message_id
        assert p.held == 0


def test_a_message_to_a_child_that_never_connected_has_no_id_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    _, public = key_pair()
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        grid = p.downlink.grid()
        message = grid.create_message(pack("task", MEGABYTES), "train", flower_id, "1")
        assert grid.push_messages([message]) == [""]
        assert p.held == 0


def test_an_abandoned_message_is_freed_and_its_late_answer_refused(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        p.downlink.admit_child(public)
        with p.client(key) as client:
            message = p.pulled(client, MEGABYTES)
            p.downlink.abandon(message.metadata.message_id)
            with pytest.raises(Refusal) as refused:
                client.push(Message(pack("echo", MEGABYTES), reply_to=message))
        assert refused.value.code == p.refused_codes[-1] == "unexpected-answer"
        assert p.held == 0


def test_an_answer_that_never_arrives_in_full_keeps_nobody_waiting(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path, limits=DoorLimits(message_bytes=100_000)) as p:
        p.downlink.admit_child(public)
        with p.client(key) as client:
            message = p.pulled(client)
            with pytest.raises(Refusal):  # announced, and then too large to be taken
                client.push(Message(pack("echo", MEGABYTES), reply_to=message))
        message_id = message.metadata.message_id
        assert p.downlink.grid().pull_messages([message_id]) == []
        p.downlink.abandon(message_id)
        assert len(p.state.object_store) == 0


def test_an_answer_that_is_just_being_announced_is_not_taken_for_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with p.client(key) as client:
            ident = p.send(flower_id, {"n": b"1"})
            message = client.pull()
            assert message is not None
            store: Any = p.fleet._store
            announced, go_on = threading.Event(), threading.Event()
            register = store.preregister

            def slowly(run: int, tree: Any) -> list[str]:
                announced.set()
                go_on.wait(WAIT_S)
                return list(register(run, tree))

            monkeypatch.setattr(store, "preregister", slowly)
            answer = Message(pack("echo", {"n": b"1"}), reply_to=message)
            pushing = threading.Thread(target=client.push, args=(answer,))
            pushing.start()
            assert announced.wait(WAIT_S)  # Flower knows the answer, but none of its objects
            replies: list[Message] = []
            taking = threading.Thread(
                target=lambda: replies.extend(p.downlink.grid().pull_messages([ident]))
            )
            taking.start()
            taking.join(0.2)
            go_on.set()
            pushing.join(WAIT_S)
            taking.join(WAIT_S)
            reply = replies[0] if replies else p.reply(ident)
            assert reply.has_content()


def test_a_run_that_failed_is_replaced_and_its_messages_are_lost(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with p.client(key):
            message_id = p.send(flower_id, MEGABYTES)
            task = p.fleet.describe_run().primary_task_id
            p.state.finish_task(task, "failed", "as after a sleep of the machine")
        with child(p, key):
            assert unpack(p.reply(p.send(flower_id, {"n": b"2"})).content)[1] == {"n": b"2"}
        assert p.reply(message_id).error.reason == "message-lost"
        wait_for(lambda: p.held == 0)


def test_send_and_receive_returns_when_its_time_is_over(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with p.client(key):  # connected, and silent
            grid = p.downlink.grid()
            wait_for(lambda: flower_id in grid.get_node_ids())
            message = grid.create_message(pack("task", {}), "train", flower_id, "1")
            assert grid.send_and_receive([message], timeout=0.1) == []
        assert p.held == 0


def test_a_child_trusts_no_other_authority(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path / "a") as p, parent(tmp_path / "b") as other:
        p.downlink.admit_child(public)
        p.tls = other.tls
        with p.stranger(key) as client, pytest.raises(LinkDown):
            client.connect()


def test_an_uplink_stops_while_its_parent_is_silent(tmp_path: Path) -> None:
    key, _ = key_pair()
    with parent(tmp_path) as p, socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        uplink = Uplink([f"{host}:{port}"], p.ca, key, 0.02)
        stop = threading.Event()
        thread = threading.Thread(target=uplink.run, args=(ClientApp(), empty_context(), stop))
        thread.start()
        connection, _ = silent.accept()  # and never a word
        stop.set()
        thread.join(WAIT_S)
        connection.close()
        assert not thread.is_alive()


def test_a_link_ends_with_no_thread_left(tmp_path: Path) -> None:
    key, public = key_pair()
    before = set(threading.enumerate())
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with child(p, key):
            p.reply(p.send(flower_id, {}))
    wait_for(lambda: set(threading.enumerate()) <= before)


def test_a_port_that_is_taken_is_said_to_be(tmp_path: Path) -> None:
    with parent(tmp_path) as p:
        port = int(p.downlink.address.rpartition(":")[2])
        with pytest.raises(NodeError, match="cannot-listen"), parent(tmp_path, port):
            pass


def test_a_device_loads_nothing_of_the_server() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, nodes.flower.uplink; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "nodes.flower.internals" in loaded
    assert not {"sqlalchemy", "fastapi", "uvicorn", "ray", "torch"} & set(loaded)
