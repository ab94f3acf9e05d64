"""Wake requests that wait until there is something for their node.

A child asks for a message, and the parent answers when it has one: two hundred children that ask
twice a second would take more of a processor than their rounds do.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Bell:
    """The bell of one waiting request. ``over``: it is to be answered with what there is."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.rung = asyncio.Event()
        self.over = False

    def ring(self, *, over: bool = False) -> None:
        """Wake the request; any thread may."""
        with suppress(RuntimeError):  # the server has ended
            self._loop.call_soon_threadsafe(self._ring, over)

    def _ring(self, over: bool) -> None:
        self.over = self.over or over
        self.rung.set()


class Bells:
    """The bells of all nodes, at most one each: who asks again has left the request before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bells: dict[int, Bell] = {}
        self._closed = False

    @contextmanager
    def hung(self, node: int) -> Iterator[Bell]:
        """Hang the bell of a node's request for as long as it waits."""
        bell = Bell()
        with self._lock:
            earlier, self._bells[node] = self._bells.get(node), bell
            bell.over = self._closed
        if earlier:
            earlier.ring(over=True)
        try:
            yield bell
        finally:
            with self._lock:
                if self._bells.get(node) is bell:
                    del self._bells[node]

    def ring(self, node: int, *, over: bool = False) -> None:
        """Wake the request of a node, if one waits."""
        with self._lock:
            bell = self._bells.get(node)
        if bell:
            bell.ring(over=over)

    def open(self) -> None:
        """Let requests wait (again)."""
        with self._lock:
            self._closed = False

    def close(self) -> None:
        """End the waiting of all, also of those that come later."""
        with self._lock:
            self._closed, bells = True, list(self._bells.values())
        for bell in bells:
            bell.ring(over=True)
