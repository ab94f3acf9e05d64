"""The lines of a cell's file, checked one by one as they are read.

``Record`` is what a line may be. A line that is none of these is refused with its file and number;
a line of a kind that this report does not know is passed over and counted, so that an older report
reads a newer run. A loss may be null, NaN or infinite: an attack can do that, and the page says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from nodes.errors import NodeError


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class CellRecord(_Record):
    """Which cell the file is of; the first line."""

    kind: Literal["cell"]
    id: str
    name: str
    vary: dict[str, JsonValue]
    settings: dict[str, JsonValue] = {}
    versions: dict[str, str] = {}


class Node(_Record):
    """One node of the topology."""

    id: str
    parent: str | None
    scope: str
    tier: str
    name: str = ""
    attacker: bool = False


class TopologyRecord(_Record):
    """The tree; without nodes when it is too large to list."""

    kind: Literal["topology"]
    nodes: tuple[Node, ...] = ()
    counts: dict[str, int]


class RoundRecord(_Record):
    """One closed round: what became of it and of the updates in it."""

    kind: Literal["round"]
    at_s: float
    scope: str
    tier: str
    round: int
    outcome: str
    accepted: int = 0
    outvoted: int = 0
    stand_ins: int = 0
    late: int = 0
    refused: dict[str, int] = {}
    seconds: float | None = None


class LossRecord(_Record):
    """Held-out loss of one scope's effective model; null where it is not finite."""

    kind: Literal["loss"]
    at_s: float
    round: int
    scope: str
    tier: str
    loss: float | None
    base: float | None = None
    best: float | None = None


class TrafficRecord(_Record):
    """Bytes and messages since the start."""

    kind: Literal["traffic"]
    at_s: float
    up_bytes: int
    down_bytes: int
    messages: int


class MatrixRecord(_Record):
    """``losses[i][j]``: the loss on column j after learning row i."""

    kind: Literal["matrix"]
    name: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    losses: tuple[tuple[float | None, ...], ...]


class NoteRecord(_Record):
    """Something that happened, such as a crash or a partition."""

    kind: Literal["note"]
    at_s: float
    what: str
    text: str = ""


class DoneRecord(_Record):
    """What the cell came to and what it cost; the last line."""

    kind: Literal["done"]
    wall_s: float
    cpu_s: float | None = None
    peak_bytes: int | None = None
    virtual_s: float
    events: int | None = None
    final: dict[str, JsonValue]
    up_bytes: int
    down_bytes: int
    messages: int | None = None
    devices: int
    rounds: int


class UnknownRecord(_Record):
    """A line of a kind that this report does not know."""

    kind: str


Known = (
    CellRecord
    | TopologyRecord
    | RoundRecord
    | LossRecord
    | TrafficRecord
    | MatrixRecord
    | NoteRecord
    | DoneRecord
)
Record = Known | UnknownRecord

_KNOWN: TypeAdapter[Known] = TypeAdapter(Annotated[Known, Field(discriminator="kind")])


def bad_record(path: Path, line: int, what: str) -> NodeError:
    """The error for a damaged line."""
    return NodeError("bad-record", f"{path}, line {line}: {what}.")


def read_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Every record with the number of its line, from 1; the file is never held as a whole.

    Raises ``NodeError`` ``bad-record`` at the first line that is not a record.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield number, _KNOWN.validate_json(line)
            except ValidationError as error:
                yield number, _unknown(path, number, line, error)


def _unknown(path: Path, number: int, line: bytes, error: ValidationError) -> UnknownRecord:
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "union_tag_invalid":
        return UnknownRecord.model_validate_json(line)
    place = ".".join(str(part) for part in first["loc"])
    raise bad_record(path, number, f"{place}: {first['msg']}" if place else first["msg"]) from None
