"""What a running process cannot do at present, in a file that other processes read.

A trouble stands from the first report of its key until it is cleared. The file is small, holds
only what is wrong now, and is written when something changes, at most once a second for a trouble
that goes on: a failure at every try costs no disk.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nodes.machine.clock import Clock
from nodes.machine.files import write_file

TROUBLES_FILE = "troubles.json"
_WRITE_EVERY_S = 1.0


@dataclass(frozen=True)
class Trouble:
    """Something that does not work at present.

    Attributes:
        key: what does not work: ``uplink``, ``round``, ``text:notes.jsonl``.
        code, sentence: of the last report; the sentence says what a person can do.
        since_ms, last_ms: of the first and the last report, milliseconds since the epoch.
        count: the number of reports.
    """

    key: str
    code: str
    sentence: str
    since_ms: int
    last_ms: int
    count: int


class Troubles:
    """The troubles of one process. Thread-safe; it never raises for what it cannot write.

    Args:
        file: where they are kept; what an earlier process left in it is forgotten.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file, self._clock = file, clock
        self._lock = threading.Lock()
        self._troubles: dict[str, Trouble] = {}
        self._written_at = float("-inf")
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)

    def report(self, key: str, code: str, sentence: str) -> Trouble:
        """Note that ``key`` does not work; return it with the number of reports so far."""
        now = self._clock.now_ms()
        with self._lock:
            known = self._troubles.get(key)
            trouble = (
                replace(known, code=code, sentence=sentence, last_ms=now, count=known.count + 1)
                if known
                else Trouble(key, code, sentence, now, now, 1)
            )
            self._troubles[key] = trouble
            changed = known is None or (known.code, known.sentence) != (code, sentence)
            if changed or self._clock.monotonic() - self._written_at >= _WRITE_EVERY_S:
                self._write()
        return trouble

    def clear(self, key: str) -> None:
        """Note that ``key`` works; do nothing if it always did."""
        with self._lock:
            if self._troubles.pop(key, None) is not None:
                self._write()

    @contextmanager
    def cleared_if_ok(self, key: str) -> Iterator[None]:
        """Clear ``key`` when the block ends without an error."""
        yield
        self.clear(key)

    @property
    def standing(self) -> tuple[Trouble, ...]:
        """What does not work now, the oldest first."""
        with self._lock:
            return tuple(sorted(self._troubles.values(), key=lambda t: t.since_ms))

    def _write(self) -> None:
        self._written_at = self._clock.monotonic()
        entries = [asdict(trouble) for trouble in self._troubles.values()]
        with contextlib.suppress(OSError):  # a full disk is itself a trouble, reported elsewhere
            write_file(self._file, json.dumps(entries, ensure_ascii=False).encode())


def read_troubles(file: Path) -> tuple[Trouble, ...]:
    """Read what another process wrote; nothing where there is no file, or a damaged one."""
    try:
        entries = json.loads(file.read_text("utf-8"))
        return tuple(Trouble(**entry) for entry in entries)
    except (OSError, ValueError, TypeError):
        return ()
