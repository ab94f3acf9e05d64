"""Names of things: digests, node ids, key ids and scopes.

A value of these types was checked when it was made. Nothing here knows what the names stand for.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, NewType

from protocol.errors import Code, Refused

Digest = NewType("Digest", str)
"""SHA-256, 64 lower-case hexadecimal digits."""

NodeId = NewType("NodeId", str)
"""SHA-256 of a node's first raw public key; it stays when the key is rotated."""

KeyId = NewType("KeyId", str)
"""SHA-256 of a raw public key. A hint that selects a key; it proves nothing."""

MAX_SEGMENTS: Final = 16

_HEX = re.compile(r"[0-9a-f]{64}")
_SEGMENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def digest_of(data: bytes | memoryview) -> Digest:
    """SHA-256 of ``data``."""
    return Digest(hashlib.sha256(data).hexdigest())


def is_digest(text: object) -> bool:
    """Whether ``text`` is 64 lower-case hexadecimal digits."""
    return isinstance(text, str) and _HEX.fullmatch(text) is not None


def check_digest(text: str) -> Digest:
    """The same text, as a digest. Raises ``Refused`` ``malformed``."""
    if not is_digest(text):
        raise Refused(
            Code.MALFORMED,
            f"A digest is 64 lower-case hexadecimal digits; got {str(text)[:80]!r}.",
        )
    return Digest(text)


@dataclass(frozen=True, order=True)
class Scope:
    """A path that names what a node knows: ``/``, ``/en``, ``/en/healthcare``.

    At most 16 segments of lower-case letters, digits, ``_`` and ``-``, 64 characters each.
    Raises ``Refused`` ``malformed`` for anything else, so a scope that exists is well formed.
    """

    path: str = "/"

    def __post_init__(self) -> None:
        path: object = self.path
        if path == "/":
            return
        segments = path[1:].split("/") if isinstance(path, str) and path[:1] == "/" else []
        well_formed = segments and all(_SEGMENT.fullmatch(segment) for segment in segments)
        if not well_formed or len(segments) > MAX_SEGMENTS:
            raise Refused(
                Code.MALFORMED,
                f"A scope is / or a path such as /en/healthcare with at most {MAX_SEGMENTS} "
                f"segments of lower-case letters, digits, _ and -; got {str(path)[:80]!r}.",
            )

    @classmethod
    def parse(cls, text: str) -> Scope:
        """The scope that ``text`` names. Raises ``Refused`` ``malformed``."""
        return cls(text)

    @property
    def segments(self) -> tuple[str, ...]:
        """The names from the root down; empty at the root."""
        return tuple(self.path[1:].split("/")) if self.path != "/" else ()

    @property
    def tier(self) -> int:
        """The depth: 0 at the root."""
        return len(self.segments)

    @property
    def parent(self) -> Scope | None:
        """The scope above; None at the root."""
        return Scope("/" + "/".join(self.segments[:-1])) if self.path != "/" else None

    @property
    def lineage(self) -> tuple[Scope, ...]:
        """Every scope from the root to this one, both included."""
        names = self.segments
        return tuple(Scope("/" + "/".join(names[:i])) for i in range(len(names) + 1))

    def child(self, name: str) -> Scope:
        """The scope one segment below."""
        return Scope("/" + "/".join((*self.segments, name)))

    def is_within(self, other: Scope) -> bool:
        """Whether this scope is ``other`` or lies below it."""
        return self.segments[: other.tier] == other.segments

    def __str__(self) -> str:
        return self.path
