"""Randomness as a node sees it, so that a whole network can be replayed from one seed."""

from __future__ import annotations

import random
import secrets
from typing import Protocol


class Randomness(Protocol):
    """The source of a node's seeds and nonces."""

    def bits(self, count: int) -> int:
        """Return an integer of ``count`` random bits."""
        ...

    def token(self, count: int) -> bytes:
        """Return ``count`` random bytes."""
        ...


class SystemRandomness:
    """The operating system's randomness, which nobody can foresee."""

    def bits(self, count: int) -> int:
        """Return an integer of ``count`` random bits."""
        return secrets.randbits(count)

    def token(self, count: int) -> bytes:
        """Return ``count`` random bytes."""
        return secrets.token_bytes(count)


class SeededRandomness:
    """The same numbers for the same seed: for simulations, never for a node that is on-line."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  what a simulation needs

    def bits(self, count: int) -> int:
        """Return an integer of ``count`` pseudo-random bits."""
        return self._random.getrandbits(count)

    def token(self, count: int) -> bytes:
        """Return ``count`` pseudo-random bytes."""
        return self._random.randbytes(count)
