"""Whether the status that a node's process signed last still says how it is, now that it stands.

It does if nothing was added to the ledger and no child's membership ended since: then nobody has to
load what composes a status.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from nodes.errors import NodeError
from nodes.peers.statuses.rows import HOLDS_NOTE, StatusFile
from nodes.state.ledger import Ledger
from protocol import Status


def that_still_holds(folder: Path, file: StatusFile, last: Status, now_ms: int) -> Status | None:
    """Return the last status with the disk as it is now; None if it may be true no longer."""
    holds_until = file.note(HOLDS_NOTE)
    if not (holds_until.isdigit() and last.issued_ms <= now_ms < int(holds_until)):
        return None
    try:
        with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
            if ledger.head != (last.events, last.ledger):
                return None
        return replace(last, disk_free=shutil.disk_usage(folder).free)
    except (NodeError, OSError):
        return None
