"""The threads in which calls are answered, shared between callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from nodes.peers.wire.errors import PeerError
from nodes.peers.wire.limits import WireLimits


class Workers:
    """A bounded pool of threads, of which one caller has some at a time.

    A call that its caller cancels keeps its thread until it ends, and is counted for so long: who
    cancels gains nothing. Used from one event loop.

    Args:
        on_spent: told of the processor time that a caller's work took, in seconds.
    """

    def __init__(self, limits: WireLimits, on_spent: Callable[[str, float], None]) -> None:
        self._limits, self._on_spent = limits, on_spent
        self._pool = ThreadPoolExecutor(limits.threads, "peer-call")
        self._pending = 0
        self._of_caller: dict[str, int] = {}
        self._ended: dict[str, asyncio.Event] = {}

    async def run(self, caller: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run something in a thread; return what it returns.

        Raises ``PeerError`` ``overloaded`` where too much waits already, and what ``work`` raises.
        """
        if self._pending >= self._limits.waiting:
            raise PeerError("overloaded", "This node answers as many calls as it can.", 2000)
        self._pending += 1
        try:
            while self._of_caller.get(caller, 0) >= self._limits.threads_of_one:
                await self._ended.setdefault(caller, asyncio.Event()).wait()
            future = self._begin(caller, work, *arguments)
        except BaseException:
            self._pending -= 1
            raise
        return await asyncio.wrap_future(future)

    def close_soon(self, replies: Any) -> None:
        """Close an iterator of replies in a thread, unless it runs: then it ends by itself."""

        def close() -> None:
            with suppress(ValueError):  # it runs, and is given up as soon as it yields
                replies.close()

        if hasattr(replies, "close"):
            with suppress(RuntimeError):  # the pool is closed, the process ends
                self._pool.submit(close)

    def shutdown(self) -> None:
        """Begin nothing any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, caller: str, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        loop, spent = asyncio.get_running_loop(), [0.0]

        def timed() -> Any:
            before = time.thread_time()
            try:
                return work(*arguments)
            finally:
                spent[0] = time.thread_time() - before

        def ended(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._end, caller, spent[0])

        future = self._pool.submit(timed)
        self._of_caller[caller] = self._of_caller.get(caller, 0) + 1
        future.add_done_callback(ended)
        return future

    def _end(self, caller: str, spent_s: float) -> None:
        self._pending -= 1
        self._of_caller[caller] -= 1
        if not self._of_caller[caller]:
            del self._of_caller[caller]
        if waiting := self._ended.pop(caller, None):
            waiting.set()
        self._on_spent(caller, spent_s)
