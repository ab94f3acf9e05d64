"""Statements: write them as bytes, and read bytes as statements.

A statement that exists is valid: every field has been checked against its kind, whoever made it.
Bytes that do not describe a valid statement are refused with ``malformed`` and a sentence that
names the field. Unknown protobuf fields are refused too: a signed statement is read in full or not
at all.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, TypeVar, get_type_hints

from google.protobuf.message import DecodeError, Message

from protocol.errors import Code, Refused
from protocol.statements.kinds import Kind

M = TypeVar("M", bound=Message)


class Part:
    """A frozen dataclass with one kind for every field, and the protobuf message it maps to."""

    __slots__ = ()
    MESSAGE: ClassVar[type[Message]]

    def __post_init__(self) -> None:
        for name, kind in _kinds(type(self)).items():
            try:
                kind.check(getattr(self, name))
            except ValueError as problem:
                raise _malformed(type(self), f"field {name} {problem}") from None
        if contradiction := self._contradiction():
            raise _malformed(type(self), contradiction)

    def _contradiction(self) -> str:
        """What does not hold between fields, or nothing."""
        return ""

    def to_message(self) -> Message:
        """As a protobuf message."""
        kinds = _kinds(type(self)).items()
        return self.MESSAGE(**{name: kind.to_wire(getattr(self, name)) for name, kind in kinds})

    @classmethod
    def from_message(cls, message: Message) -> Self:
        """From a protobuf message. Raises ``Refused`` ``malformed``."""
        values: dict[str, Any] = {}
        for name, kind in _kinds(cls).items():
            try:
                values[name] = kind.from_wire(getattr(message, name))
            except ValueError as problem:
                raise _malformed(cls, f"field {name} {problem}") from None
        return cls(**values)


class Statement(Part):
    """A part that is signed on its own, under a payload type of its own."""

    __slots__ = ()
    PAYLOAD_TYPE: ClassVar[str]

    def to_bytes(self) -> bytes:
        """As the bytes to sign."""
        return self.to_message().SerializeToString(deterministic=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """From bytes whose signature has been verified. Raises ``Refused`` ``malformed``."""
        return cls.from_message(parse_message(cls.MESSAGE, data))


@dataclass(frozen=True)
class Nested:
    """The kind of a field that holds another part."""

    part: type[Part]

    def check(self, value: Any) -> None:
        """See ``Kind``; a part that exists is valid."""
        if not isinstance(value, self.part):
            raise ValueError(f"holds something other than a {self.part.__name__}")

    def to_wire(self, value: Part) -> Message:
        """See ``Kind``."""
        return value.to_message()

    def from_wire(self, value: Message) -> Part:
        """See ``Kind``."""
        return self.part.from_message(value)


def payload_type(kind: str) -> str:
    """The payload type of a kind of statement."""
    return f"application/vnd.banyan.{kind}.v1+protobuf"


def parse_message(message_type: type[M], data: bytes) -> M:
    """Parse bytes as one protobuf message, nothing in them left over.

    Raises ``Refused`` ``malformed``.
    """
    message = message_type()
    name = message_type.DESCRIPTOR.name
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Refused(Code.MALFORMED, f"These bytes are not a {name}.") from None
    size = message.ByteSize()
    message.DiscardUnknownFields()
    if message.ByteSize() != size:
        raise Refused(Code.MALFORMED, f"The {name} has fields that this version does not know.")
    return message


_KINDS: dict[type[Part], dict[str, Kind]] = {}


def _kinds(part: type[Part]) -> dict[str, Kind]:
    """The kind of every field of a part, from its annotations, read once."""
    if part not in _KINDS:
        hints = get_type_hints(part, include_extras=True)
        # A part is a dataclass, which its own type cannot say.
        names = [field.name for field in fields(part)]  # type: ignore[arg-type]
        _KINDS[part] = {name: hints[name].__metadata__[0] for name in names}
    return _KINDS[part]


def _malformed(part: type[Part], problem: str) -> Refused:
    return Refused(Code.MALFORMED, f"{part.__name__}: {problem}.")
