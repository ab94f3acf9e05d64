"""What a status says that stands in no ledger: disk, ends of certificates, troubles, software."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.trust.link_certificates import LINK_FILE, link_ends_ms
from protocol import LIMITS, Certificate, Envelope

MEASURE_EVERY_S = 600.0
"""Seconds between measurements of how much the state folder takes."""


@dataclass(frozen=True)
class Around:
    """What is beside a node's ledger at one moment.

    Attributes:
        certificate: the node's own, as on disk now; ``sealed``: its envelope.
        link_until_ms: when the certificate for the link ends; 0 where there is none.
        disk_free: bytes free where the state folder is. ``disk_used``: bytes that the folder takes.
        way: the address by which the node reaches its parent; empty where it has none.
        started_ms: when the node's process started; 0 when it does not run.
        troubles: the code of each thing that does not work now.
        software: what the process runs, or ran last; empty where that is not known.
    """

    certificate: Certificate
    sealed: bytes
    link_until_ms: int = 0
    disk_free: int = 0
    disk_used: int = 0
    way: str = ""
    started_ms: int = 0
    troubles: tuple[str, ...] = ()
    software: str = ""


class Folder:
    """Reads what is in a state folder, and again only what may have changed."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._certificate: tuple[bytes, Certificate] | None = None
        self._link: tuple[int, int] = (0, 0)
        self._used: tuple[float, int] | None = None

    def certificate(self) -> tuple[Certificate, bytes]:
        """Read the node's own certificate, renewed ones included, and its envelope.

        Raises ``OSError``, or ``ProtocolError`` for a damaged file.
        """
        sealed = max((self._folder / "path").glob("*.env")).read_bytes()
        if self._certificate is None or self._certificate[0] != sealed:
            # This folder is the node's own: it was verified when the node was opened.
            payload = Envelope.decode(sealed, LIMITS).payload
            self._certificate = sealed, Certificate.from_bytes(payload)
        return self._certificate[1], sealed

    def link_until_ms(self) -> int:
        """Return when the certificate for the link ends; 0 where there is none."""
        file = self._folder / LINK_FILE
        try:
            changed = file.stat().st_mtime_ns
            if self._link[0] != changed:
                self._link = changed, link_ends_ms(file.read_bytes())
        except (OSError, NodeError):
            return 0
        return self._link[1]

    def disk_free(self) -> int:
        """Return the bytes that are free where the folder is."""
        try:
            return shutil.disk_usage(self._folder).free
        except OSError:
            return 0

    def disk_used(self) -> int:
        """Return the bytes that the folder takes, as last measured."""
        now = self._clock.monotonic()
        if self._used is None or now - self._used[0] >= MEASURE_EVERY_S:
            self._used = now, sum(_sizes(self._folder))
        return self._used[1]

    def around(
        self,
        *,
        way: str = "",
        started_ms: int = 0,
        troubles: tuple[str, ...] = (),
        software: str = "",
    ) -> Around:
        """Put together what is in the folder and what only the node's process knows."""
        certificate, sealed = self.certificate()
        return Around(
            certificate=certificate,
            sealed=sealed,
            link_until_ms=self.link_until_ms(),
            disk_free=self.disk_free(),
            disk_used=self.disk_used(),
            way=way,
            started_ms=started_ms,
            troubles=troubles,
            software=software,
        )


@cache
def this_software() -> str:
    """Name this version of Banyan."""
    from importlib.metadata import PackageNotFoundError, version  # takes a while

    try:
        return f"banyan-fl {version('banyan-fl')}"
    except PackageNotFoundError:
        return "banyan-fl"


def _sizes(folder: Path) -> Iterator[int]:
    """Yield the size of every file below a folder; what goes meanwhile counts nothing."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
            else:
                yield entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
