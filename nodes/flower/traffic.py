"""Count HTTP traffic: bodies and headers, both ways, without what TLS and TCP add."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Traffic:
    """Bytes that came in and went out."""

    bytes_in: int
    bytes_out: int


class Meter:
    """A counter of traffic, shared by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in = self._out = 0

    def add(self, *, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """Count some bytes."""
        with self._lock:
            self._in += bytes_in
            self._out += bytes_out

    @property
    def traffic(self) -> Traffic:
        """What was counted so far."""
        with self._lock:
            return Traffic(self._in, self._out)


def head_bytes(headers: Iterable[tuple[bytes, bytes]], first_line: int) -> int:
    """Count the bytes of an HTTP/1.1 head: its first line, its headers, and the empty line."""
    return first_line + 4 + sum(len(name) + len(value) + 4 for name, value in headers)
