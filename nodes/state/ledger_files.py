"""Two small files beside a ledger: a mark that there is one, and its last checkpoint.

The mark says of what node the ledger is and how far it came. A folder with a mark, or with
artefacts, and without that ledger has lost it: taken for a new node's, it would lose the artefacts
too, and its versions would begin again.

Neither file is the truth of anything: the ledger is. What cannot be written is logged.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from nodes.errors import NodeError
from nodes.machine.files import write_file
from protocol import Digest, NodeId

MARK_FILE = "ledger.mark"
CHECKPOINT_FILE = "ledger.checkpoint"

log = structlog.get_logger()


@dataclass(frozen=True)
class Mark:
    """How far a node's ledger came; all but ``node`` never go back.

    Attributes:
        seq, digest: of an event that the ledger has.
        version: of the node's newest release. ``sequence``: of its snapshots.
        round: the next round's number.
        tests: candidates that the gate judged.
    """

    node: NodeId
    seq: int
    digest: Digest
    version: int
    sequence: int
    round: int
    tests: int


class LedgerFiles:
    """The files beside the ledger of one state folder."""

    def __init__(self, folder: Path) -> None:
        self._mark, self._checkpoint = folder / MARK_FILE, folder / CHECKPOINT_FILE

    def mark(self) -> Mark | None:
        """Read the mark; None where there is none, or a damaged one."""
        try:
            values = json.loads(self._mark.read_text("utf-8"))
            return Mark(**values)
        except (OSError, ValueError, TypeError):
            return None

    @property
    def is_marked(self) -> bool:
        """Whether there was a ledger; also a damaged mark says so."""
        return self._mark.exists()

    def write_mark(self, mark: Mark) -> None:
        """Replace the mark."""
        self._write(self._mark, json.dumps(asdict(mark)).encode())

    def checkpoint(self) -> bytes | None:
        """Read the last checkpoint; None where there is none."""
        try:
            return self._checkpoint.read_bytes()
        except OSError:
            return None

    def write_checkpoint(self, data: bytes) -> None:
        """Replace the checkpoint."""
        self._write(self._checkpoint, data)

    def forget_checkpoint(self) -> None:
        """Remove the checkpoint: its ledger is another one now."""
        self._checkpoint.unlink(missing_ok=True)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            write_file(path, data)
        except OSError as error:
            log.warning("not-written", file=str(path), why=str(error))


def check_not_lost(folder: Path, ledger_file: Path) -> None:
    """Check that a folder without a ledger never had one.

    Raises ``NodeError`` ``lost-ledger``.
    """
    if ledger_file.exists() and ledger_file.stat().st_size:
        return
    store = folder / "artefacts"
    if LedgerFiles(folder).is_marked or any(store.glob("[0-9a-f][0-9a-f]/*")):
        raise lost(folder, "is gone")


def lost(folder: Path, what: str) -> NodeError:
    """Make the error of a lost ledger; ``what`` is said of it."""
    return NodeError(
        "lost-ledger",
        f"The ledger of the node in {folder} {what}. Nothing was deleted and nothing runs. Put "
        f"it back from a copy, or rebuild what can be proven: "
        f"`banyan node recover --node {folder}`.",
    )
