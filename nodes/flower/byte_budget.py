"""Bound the bytes that are in memory at one time because children are sending them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """So many bytes, for one event loop; who asks first is served first."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        """Bytes that nobody holds."""
        return self._free

    @asynccontextmanager
    async def reserve(self, count: int) -> AsyncIterator[None]:
        """Hold so many bytes, at most all there are; wait until they are free."""
        count = min(count, self._total)
        async with self._turn:
            while self._free < count:
                self._freed.clear()
                await self._freed.wait()
            self._free -= count
        try:
            yield
        finally:
            self._free += count
            self._freed.set()
