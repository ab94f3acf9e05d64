"""The records of a run: ``experiment`` and ``world`` write them, ``report`` reads them.

``experiment.json`` holds an ``ExperimentRecord``, ``cells/ID.failed.json`` a ``FailureRecord``. A
cell's file holds one record a line, as JSON with its ``kind``: first a ``CellRecord``, at the end a
``DoneRecord``. A number that JSON does not have, such as a loss that an attack drove to infinity,
is written as null. ``at_s`` is in seconds of simulated time since the beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from nodes.errors import NodeError


class _Record(BaseModel):
    # A field that only a newer version writes is no damage.
    model_config = ConfigDict(extra="ignore", frozen=True)


class CellRecord(_Record):
    """Which cell the file is of: its place in the experiment, its settings, and the versions."""

    kind: Literal["cell"] = "cell"
    id: str
    name: str
    vary: dict[str, JsonValue]
    settings: dict[str, JsonValue] = {}
    versions: dict[str, str] = {}


class NodeEntry(_Record):
    """One node of a topology; ``speed`` in training steps per second."""

    id: int
    parent: int | None
    scope: str
    tier: str
    name: str
    attacker: bool
    rank: int
    speed: float
    domain: str


class TopologyRecord(_Record):
    """The tree: nodes by tier, and every node unless they are too many to list."""

    kind: Literal["topology"] = "topology"
    nodes: tuple[NodeEntry, ...]
    counts: dict[str, int]


class RoundRecord(_Record):
    """One closed round: its outcome, and how many updates were accepted, outvoted and so on.

    ``refused`` counts refused updates by their code; ``seconds`` is how long the round was open.
    """

    kind: Literal["round"] = "round"
    at_s: float
    scope: str
    tier: str
    round: int
    outcome: str
    version: int | None
    step: float | None
    accepted: int
    outvoted: int
    stand_ins: int
    late: int
    refused: dict[str, int]
    seconds: float


class LossRecord(_Record):
    """Held-out loss of one scope's effective model, of the base, and the least possible loss.

    Null stands for a loss that is not finite, and for a best loss that nobody knows.
    """

    kind: Literal["loss"] = "loss"
    at_s: float
    round: int
    scope: str
    tier: str
    loss: float | None
    base: float | None
    best: float | None


class TrafficRecord(_Record):
    """Bytes and messages since the cell began."""

    kind: Literal["traffic"] = "traffic"
    at_s: float
    up_bytes: int
    down_bytes: int
    messages: int


class MatrixRecord(_Record):
    """``losses[i][j]``: the loss on source j after learning source i, in the order of learning."""

    kind: Literal["matrix"] = "matrix"
    name: str
    sources: tuple[str, ...]
    losses: tuple[tuple[float | None, ...], ...]

    @model_validator(mode="after")
    def _is_square(self) -> Self:
        count = len(self.sources)
        if not count or [len(row) for row in self.losses] != [count] * count:
            raise ValueError(f"{count} sources need {count}×{count} losses")
        return self


class NoteRecord(_Record):
    """An event such as a crash or a partition."""

    kind: Literal["note"] = "note"
    at_s: float
    what: str
    text: str


class DoneRecord(_Record):
    """The cell's final figures and costs; ``cpu_s`` and ``peak_bytes`` are of all its processes."""

    kind: Literal["done"] = "done"
    wall_s: float
    cpu_s: float
    peak_bytes: int
    virtual_s: float
    events: int
    final: dict[str, float | None]
    up_bytes: int
    down_bytes: int
    messages: int
    devices: int
    rounds: int


class ExperimentRecord(_Record):
    """What was asked, with the command line's changes in ``set``, and every cell in order."""

    name: str
    question: str
    compare: tuple[str, ...]
    quick: bool
    set: dict[str, JsonValue]
    versions: dict[str, str]
    cells: tuple[CellRecord, ...]


class FailureRecord(_Record):
    """Why a cell failed: a stable code, a sentence, and where it happened."""

    id: str
    name: str
    code: str
    sentence: str
    trace: str = ""


Record = (
    CellRecord
    | TopologyRecord
    | RoundRecord
    | LossRecord
    | TrafficRecord
    | MatrixRecord
    | NoteRecord
    | DoneRecord
)
Recorder = Callable[[Record], None]
"""Takes the records of a cell one by one as they are made."""

_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def to_line(record: Record) -> str:
    """Encode a record as one line of JSON, without the line's end."""
    return record.model_dump_json()


def bad_record(path: Path, line: int, reason: str) -> NodeError:
    """Make the error for a damaged line."""
    return NodeError("bad-record", f"{path}, line {line}: {reason}.")


def read_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Read a cell's file line by line, each record with the number of its line, from 1.

    Raises ``NodeError`` ``bad-record`` at the first line that is not a record.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield number, _RECORD.validate_json(line)
            except ValidationError as error:
                raise bad_record(path, number, first_mistake(error)) from None


def first_mistake(error: ValidationError) -> str:
    """The first thing that is wrong, with its place: ``cells.0.name: Input should be …``."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]
