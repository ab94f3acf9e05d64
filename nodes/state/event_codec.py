"""Encode and decode the ledger's events.

``write`` turns an event into what the ledger stores, ``read`` turns a stored entry into an event.
For an entry whose kind or shape is not one of ``nodes.state.events``, ``read`` raises an error with
the entry's number: it skips nothing. An entry of version 1 carries no version; a later one has it
under ``"v"``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nodes.errors import NodeError
from nodes.state.events import KINDS, LedgerEvent
from nodes.state.interfaces import Events
from nodes.state.ledger import LedgerEntry, canonical


def write(event: LedgerEvent) -> tuple[str, dict[str, Any]]:
    """Encode an event as the kind and the body that the ledger stores, without values of None."""
    body: dict[str, Any] = _adapter(event.KIND).dump_python(
        event, mode="json", exclude_defaults=True
    )
    if event.VERSION > 1:
        body["v"] = event.VERSION
    return event.KIND, body


def read(entry: LedgerEntry) -> LedgerEvent:
    """Decode a stored entry into its event.

    Raises ``NodeError``, each naming the entry's number: ``unknown-event`` for a kind that there
    is not, ``newer-event`` for a version that a newer Banyan wrote, ``bad-event`` for another
    shape.
    """
    cls = KINDS.get(entry.kind)
    if cls is None:
        raise NodeError(
            "unknown-event",
            f"Event {entry.seq} of the ledger is of kind {entry.kind!r}, which this version of "
            "Banyan does not know. Run the version that wrote it, or a newer one.",
        )
    body = entry.body
    version = body.get("v", 1) if isinstance(body, Mapping) else 1
    if isinstance(version, int) and version > cls.VERSION:
        raise NodeError(
            "newer-event",
            f"Event {entry.seq} of the ledger ({entry.kind}) has version {version}, this Banyan "
            f"reads up to {cls.VERSION}. Run a newer one.",
        )
    text = entry.text
    if isinstance(version, int) and version > 1:
        text = canonical({name: body[name] for name in body if name != "v"})
    try:
        # Validate strictly, and from JSON: so a list may be a tuple, but no text a number.
        return _adapter(cls.KIND).validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise NodeError(
            "bad-event",
            f"Event {entry.seq} of the ledger ({entry.kind}) has another shape than expected: "
            f"{place or 'the whole'}: {first['msg']}.",
        ) from None


def events_of(ledger: Events, *classes: type[LedgerEvent], after: int = 0) -> Iterator[LedgerEvent]:
    """Yield the events of some classes above number ``after``. Raises what ``read`` raises."""
    return map(read, ledger.events([cls.KIND for cls in classes], after))


@cache
def _adapter(kind: str) -> TypeAdapter[LedgerEvent]:
    return TypeAdapter(KINDS[kind])
