"""A question for messages waits at the parent until there is one, and holds nothing up."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flwr.app import Message

from nodes.flower.byte_budget import ByteBudget
from nodes.flower.fleet_api import PULL_MESSAGES, Parts
from nodes.flower.internals import FleetClient
from nodes.flower.messages import unpack
from tests.nodes.flower.links import WAIT_S, Parent, child, key_pair, parent, wait_for

LONG_S = 20
"""A question that would be answered so late was not answered for its time."""


class Question(threading.Thread):
    """One question of a client, which waits."""

    def __init__(self, client: FleetClient) -> None:
        super().__init__(daemon=True)
        self._client, self.message = client, None
        self.error: BaseException | None = None
        self.start()

    message: Message | None

    def run(self) -> None:
        try:
            self.message = self._client.pull(LONG_S)
        except BaseException as error:
            self.error = error

    def answered(self) -> Message | None:
        """What came of it, before its time was over."""
        self.join(LONG_S / 2)
        assert not self.is_alive()
        assert self.error is None
        return self.message


@pytest.fixture
def circle(tmp_path: Path) -> Iterator[tuple[Parent, bytes, int]]:
    key, public = key_pair()
    with parent(tmp_path) as p:
        yield p, key, p.downlink.admit_child(public)


def waits(p: Parent, node: int) -> Callable[[], bool]:
    return lambda: node in p.fleet.bells._bells


def test_a_question_is_answered_when_a_message_comes(circle: tuple[Parent, bytes, int]) -> None:
    p, key, node = circle
    with p.client(key) as client:
        question = Question(client)
        wait_for(waits(p, node))
        p.send(node, {"n": b"1"})
        message = question.answered()
        assert message is not None
        assert unpack(message.content) == ("task", {"n": b"1"})


def test_a_question_that_does_not_want_to_wait_is_answered_at_once(
    circle: tuple[Parent, bytes, int],
) -> None:
    p, key, _ = circle
    with p.client(key) as client:
        assert client.pull() is None


def test_a_question_asked_again_ends_the_one_before(circle: tuple[Parent, bytes, int]) -> None:
    p, key, node = circle
    with p.client(key) as client:
        first = Question(client)
        wait_for(waits(p, node))
        second = Question(client)
        assert first.answered() is None
        p.send(node, {"n": b"2"})
        assert second.answered() is not None


def test_a_child_that_says_goodbye_waits_no_longer(circle: tuple[Parent, bytes, int]) -> None:
    p, key, node = circle
    with p.client(key) as client:
        question = Question(client)
        wait_for(waits(p, node))
        client.deactivate()
        assert question.answered() is None


def test_a_message_is_not_given_to_a_question_whose_child_has_gone(
    circle: tuple[Parent, bytes, int],
) -> None:
    p, key, node = circle
    with closing(FleetClient(p.downlink.address, p.ca, key)) as gone:
        gone.connect()
        Question(gone)
        wait_for(waits(p, node))
        for way in gone.ways._clients.values():
            for connection in way._transport._pool.connections:  # type: ignore[attr-defined]
                connection._connection._network_stream._sock.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: not waits(p, node)())
    with p.client(key) as client:
        assert p.pulled(client).has_content()


def test_a_parent_that_stops_waits_for_no_question(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        node = p.downlink.admit_child(public)
        with closing(FleetClient(p.downlink.address, p.ca, key)) as client:
            client.connect()
            question = Question(client)
            wait_for(waits(p, node))
            p.downlink.stop()
            assert question.answered() is None


def test_questions_wait_also_at_a_parent_that_was_started_again(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as first:
        first.downlink.admit_child(public)
    with parent(tmp_path, fleet=first.fleet) as p:
        node = p.downlink.admit_child(public)
        with p.client(key) as client:
            question = Question(client)
            wait_for(waits(p, node))
            p.send(node, {"n": b"3"})
            assert question.answered() is not None


def test_children_ask_no_more_than_they_must(circle: tuple[Parent, bytes, int]) -> None:
    p, key, node = circle
    asked: list[object] = []
    handlers = dict(p.fleet.app._handlers)
    answer = handlers[PULL_MESSAGES]

    def counted(request: object) -> Parts:
        asked.append(request)
        return answer(request)

    p.fleet.app._handlers = {**handlers, PULL_MESSAGES: counted}
    with child(p, key):  # it would ask every 0.02 s
        for _ in range(3):
            p.reply(p.send(node, {}))
        assert len(asked) <= 12


# -- bytes that arrive at one time


def test_only_so_many_bytes_are_reserved_at_one_time_and_in_turn() -> None:
    async def scenario() -> list[int]:
        budget, order, most = ByteBudget(10), [], 0

        async def use(number: int, count: int) -> None:
            nonlocal most
            async with budget.reserve(count):
                order.append(number)
                most = max(most, 10 - budget.free)
                await asyncio.sleep(0.001)

        await asyncio.gather(*(use(n, count) for n, count in enumerate((6, 6, 1, 99, 1))))
        assert most == 10
        assert budget.free == 10
        return order

    assert asyncio.run(scenario()) == [0, 1, 2, 3, 4]


def test_who_gives_up_waiting_holds_nothing() -> None:
    async def scenario() -> int:
        budget = ByteBudget(10)
        async with budget.reserve(10):
            waiting = asyncio.ensure_future(budget.reserve(5).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(WAIT_S), budget.reserve(10):
            return budget.free

    assert asyncio.run(scenario()) == 0
