"""Threads are shared: one caller has some at a time, and pays for what it uses."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import suppress

import pytest

from nodes.peers.wire.errors import PeerError
from nodes.peers.wire.limits import Meter, WireLimits
from nodes.peers.wire.workers import Workers

LIMITS = WireLimits(threads=4, threads_of_one=2, waiting=6)


class Work:
    """Work that runs until it is let go, and counts how much of it runs."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.go, self._lock = threading.Event(), threading.Lock()

    def __call__(self, name: str) -> str:
        with self._lock:
            self.running[name] += 1
            self.most[name] = max(self.most[name], self.running[name])
        self.go.wait(20)
        with self._lock:
            self.running[name] -= 1
        return name


async def until_runs(work: Work, name: str, count: int) -> None:
    while work.running[name] != count:
        await asyncio.sleep(0.005)


def test_one_caller_leaves_threads_for_others() -> None:
    async def calls() -> list[str]:
        work, workers = Work(), Workers(LIMITS, lambda _, __: None)
        noisy = [asyncio.ensure_future(workers.run("noisy", work, "noisy")) for _ in range(5)]
        await until_runs(work, "noisy", 2)
        quiet = asyncio.ensure_future(workers.run("quiet", work, "quiet"))
        await until_runs(work, "quiet", 1)
        with pytest.raises(PeerError, match=r"^overloaded: "):
            await workers.run("late", work, "late")
        work.go.set()
        answers = await asyncio.gather(*noisy, quiet)
        assert work.most == {"noisy": 2, "quiet": 1}
        workers.shutdown()
        return answers

    assert Counter(asyncio.run(calls())) == {"noisy": 5, "quiet": 1}


def test_who_cancels_has_no_more_threads_than_others() -> None:
    async def calls() -> None:
        work, workers = Work(), Workers(LIMITS, lambda _, __: None)
        for _ in range(10):
            call = asyncio.ensure_future(workers.run("noisy", work, "noisy"))
            await asyncio.sleep(0.01)
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
        assert work.most == {"noisy": 2}
        work.go.set()
        assert await workers.run("noisy", work, "noisy") == "noisy"
        workers.shutdown()

    asyncio.run(calls())


def test_processor_time_is_charged_to_its_caller() -> None:
    spent: list[tuple[str, float]] = []

    def busy() -> None:
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass

    async def calls() -> None:
        workers = Workers(LIMITS, lambda name, seconds: spent.append((name, seconds)))
        await workers.run("noisy", busy)
        while not spent:
            await asyncio.sleep(0.005)
        workers.shutdown()

    asyncio.run(calls())
    ((name, seconds),) = spent
    assert name == "noisy"
    assert seconds >= 0.05


def test_who_owes_is_refused_until_that_is_made_up_for() -> None:
    now = [0.0]
    limits = WireLimits(calls_per_s=10, burst=20, processor_share=0.5)
    meter = Meter(limits, lambda: now[0])
    meter.spend("noisy")
    meter.charge("noisy", 1.5)  # 30 calls: 11 more than are left
    with pytest.raises(PeerError, match=r"^too-many-calls: ") as refused:
        meter.spend("noisy")
    assert refused.value.retry_ms == 1200
    meter.spend("quiet")
    now[0] = 1.21
    meter.spend("noisy")
    meter.charge("noisy", 1000.0)
    now[0] += 2.11  # it never owes more than a burst
    meter.spend("noisy")
