"""Randomness as a node sees it, so that a whole network can be replayed from one seed."""

from __future__ import annotations

import random
import secrets
from typing import Protocol


class Chance(Protocol):
    """Where seeds and nonces come from."""

    def bits(self, count: int) -> int:
        """A number of so many random bits."""
        ...

    def token(self, count: int) -> bytes:
        """So many random bytes."""
        ...


class SystemChance:
    """The operating system's randomness, which nobody can foresee."""

    def bits(self, count: int) -> int:
        """A number of so many random bits."""
        return secrets.randbits(count)

    def token(self, count: int) -> bytes:
        """So many random bytes."""
        return secrets.token_bytes(count)


class SeededChance:
    """The same numbers for the same seed: for simulations, never for a node that is on-line."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  what a simulation needs

    def bits(self, count: int) -> int:
        """A number of so many bits."""
        return self._random.getrandbits(count)

    def token(self, count: int) -> bytes:
        """So many bytes."""
        return self._random.randbytes(count)
