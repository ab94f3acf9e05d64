"""Kinds: what a field of a statement may hold, and how it is written on the wire.

A kind checks a value (``check`` raises ``ValueError`` with a clause that follows the field's name)
and carries it to and from the wire. Digests and ids are 64 hexadecimal digits here and 32 raw
bytes there. The aliases below give a field its static type and its kind in one word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Protocol

from protocol import banyan_pb2
from protocol.errors import Code, Refused
from protocol.ids import Digest, NodeId, Scope, is_digest
from protocol.limits import LIMITS

# Integers stay exact in JSON and in a double.
MAX_INTEGER: Final = 2**53 - 1


class Kind(Protocol):
    """What a field may hold."""

    def check(self, value: Any) -> None:
        """Raise ``ValueError`` if the field may not hold ``value``."""

    def to_wire(self, value: Any) -> Any:
        """The value as protobuf takes it."""

    def from_wire(self, value: Any) -> Any:
        """The value of a protobuf field; ``check`` comes after."""


class _AsIs:
    """A value that protobuf carries unchanged."""

    def to_wire(self, value: Any) -> Any:
        return value

    def from_wire(self, value: Any) -> Any:
        return value


@dataclass(frozen=True)
class Hex:
    """32 bytes as hexadecimal digits; with ``or_empty`` also the empty text, for "none"."""

    or_empty: bool = False

    def check(self, value: Any) -> None:
        """See ``Kind``."""
        if not (is_digest(value) or (self.or_empty and value == "")):
            raise ValueError("is not 32 bytes, written as 64 lower-case hexadecimal digits")

    def to_wire(self, value: str) -> bytes:
        """See ``Kind``."""
        return bytes.fromhex(value)

    def from_wire(self, value: bytes) -> str:
        """See ``Kind``."""
        return value.hex()


@dataclass(frozen=True)
class Path:
    """A scope."""

    def check(self, value: Any) -> None:
        """See ``Kind``; a scope that exists is well formed."""
        if not isinstance(value, Scope):
            raise ValueError("is not a scope")

    def to_wire(self, value: Scope) -> str:
        """See ``Kind``."""
        return value.path

    def from_wire(self, value: str) -> Scope:
        """See ``Kind``."""
        try:
            return Scope(value)
        except Refused as refused:
            raise ValueError(f"is not a scope: {refused.sentence[:-1]}") from None


@dataclass(frozen=True)
class Raw(_AsIs):
    """Bytes, from ``least`` to ``most`` of them."""

    least: int
    most: int

    def check(self, value: Any) -> None:
        """See ``Kind``."""
        if not isinstance(value, bytes):
            raise ValueError("is not bytes")
        if not self.least <= len(value) <= self.most:
            raise ValueError(f"has {len(value)} bytes, expected {self.least} to {self.most}")


@dataclass(frozen=True)
class Text(_AsIs):
    """Text that matches ``pattern`` as a whole and has only characters that can be shown."""

    pattern: str

    def check(self, value: Any) -> None:
        """See ``Kind``."""
        if not isinstance(value, str):
            raise ValueError("is not text")
        if not (value.isprintable() and re.fullmatch(self.pattern, value)):
            raise ValueError(f"is {value[:80]!r}, which does not match {self.pattern}")


@dataclass(frozen=True)
class Whole(_AsIs):
    """A whole number from ``least`` to ``most``."""

    least: int = 0
    most: int = MAX_INTEGER

    def check(self, value: Any) -> None:
        """See ``Kind``."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("is not a whole number")
        if not self.least <= value <= self.most:
            raise ValueError(f"is {value}, expected {self.least} to {self.most}")


@dataclass(frozen=True)
class Real(_AsIs):
    """A finite number from ``least`` to ``most``."""

    least: float
    most: float

    def check(self, value: Any) -> None:
        """See ``Kind``."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError("is not a number")
        if not (math.isfinite(value) and self.least <= value <= self.most):
            raise ValueError(f"is {value}, expected {self.least:g} to {self.most:g}")


@dataclass(frozen=True)
class Flag(_AsIs):
    """True or false."""

    def check(self, value: Any) -> None:
        """See ``Kind``."""
        if not isinstance(value, bool):
            raise ValueError("is not true or false")


class Choice:
    """A member of ``choices``; the protobuf enum ``name`` has the same members, prefixed."""

    def __init__(self, choices: type[StrEnum], name: str) -> None:
        numbers = banyan_pb2.DESCRIPTOR.enum_types_by_name[name].values_by_name
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
        self._choices = choices
        self._numbers = {c: numbers[f"{prefix}_{c.name}"].number for c in choices}
        self._members = {number: c for c, number in self._numbers.items()}

    def check(self, value: Any) -> None:
        """See ``Kind``."""
        if not isinstance(value, self._choices):
            raise ValueError(f"is not one of {', '.join(self._choices)}")

    def to_wire(self, value: StrEnum) -> int:
        """See ``Kind``."""
        return self._numbers[value]

    def from_wire(self, value: int) -> StrEnum:
        """See ``Kind``."""
        if value not in self._members:
            raise ValueError(f"has the unknown value {value}")
        return self._members[value]


@dataclass(frozen=True)
class Many:
    """A tuple of ``least`` to ``most`` items of one kind; ``distinct`` ones where it says so."""

    item: Kind
    least: int
    most: int
    distinct: bool = False

    def check(self, value: Any) -> None:
        """See ``Kind``."""
        if not isinstance(value, tuple):
            raise ValueError("is not a tuple")
        if not self.least <= len(value) <= self.most:
            raise ValueError(f"has {len(value)} items, expected {self.least} to {self.most}")
        for item in value:
            self.item.check(item)
        if self.distinct and len(set(value)) != len(value):
            raise ValueError("names the same item twice")

    def to_wire(self, value: tuple[Any, ...]) -> list[Any]:
        """See ``Kind``."""
        return [self.item.to_wire(item) for item in value]

    def from_wire(self, value: Iterable[Any]) -> tuple[Any, ...]:
        """See ``Kind``."""
        return tuple(self.item.from_wire(item) for item in value)


DigestField = Annotated[Digest, Hex()]
DigestOrNone = Annotated[Digest, Hex(or_empty=True)]
NodeField = Annotated[NodeId, Hex()]
ScopeField = Annotated[Scope, Path()]
PublicKeyField = Annotated[bytes, Raw(32, 32)]
NonceField = Annotated[bytes, Raw(32, 32)]
_LABEL = Text(r".{1,128}")
Label = Annotated[str, _LABEL]
"""What a person calls something."""
TaskName = Annotated[str, Text(r"[a-z0-9][a-z0-9._-]{0,127}")]
Reason = Annotated[str, Text(r"[a-z0-9][a-z0-9-]{0,63}")]
ReasonOrNone = Annotated[str, Text(r"([a-z0-9][a-z0-9-]{0,63})?")]
Count = Annotated[int, Whole()]
Ordinal = Annotated[int, Whole(1)]
SmallOrdinal = Annotated[int, Whole(1, 2**31 - 1)]
Rank = Annotated[int, Whole(1, LIMITS.max_rank)]
Length = Annotated[int, Whole(1, LIMITS.payload_bytes)]
Share = Annotated[float, Real(0.0, 1.0)]
Loss = Annotated[float, Real(-1e9, 1e9)]
Flagged = Annotated[bool, Flag()]
Milliseconds = Annotated[int, Whole()]
"""A time, in milliseconds since 1970 UTC."""


def check_label(text: str) -> str:
    """The same text, as what a person may call something. Raises ``Refused`` ``malformed``."""
    try:
        _LABEL.check(text)
    except ValueError as problem:
        raise Refused(Code.MALFORMED, f"The name {problem}.") from None
    return text
