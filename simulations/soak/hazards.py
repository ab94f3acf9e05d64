"""What can be done to a machine for real: a full disk, a wrong clock, a folder that is read-only.

Disks are small tmpfs mounts and read-only bind mounts, which need root. Clocks are those of single
processes, by libfaketime: it changes what the C library tells, so that Python, OpenSSL and SQLite
agree, and leaves the monotonic clock alone. ``Unavailable`` says what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FAKETIME = (
    "/usr/lib/*/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
)
FILLER = "filler"
SLEEP = """import select, time
time.sleep = lambda seconds: (select.select([], [], [], seconds), None)[1]
"""
"""libfaketime 0.9.10 lets ``clock_nanosleep`` to a moment fail, with which Python sleeps."""


class Unavailable(Exception):
    """This machine cannot do that, and why."""


@contextmanager
def small_disk(folder: Path, spare_bytes: int) -> Iterator[Path]:
    """Move a folder onto a disk of its own with little room to spare; yields a file to fill it."""
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.mkdir()
    size = 2 * used + spare_bytes
    mounted = False
    try:
        _mount("-t", "tmpfs", "-o", f"size={size}", "none", str(folder))
        mounted = True
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield folder / FILLER
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)
        shutil.rmtree(aside, ignore_errors=True)


def fill(filler: Path) -> None:
    """Write until there is no room left."""
    try:
        with filler.open("wb", buffering=0) as file:
            for block in (65536, 4096, 1):
                _write_all(file.fileno(), bytes(block))
    except OSError:
        return


def _write_all(descriptor: int, block: bytes) -> None:
    while True:
        try:
            os.write(descriptor, block)
        except OSError:
            return


@contextmanager
def mounted_over(folder: Path) -> Iterator[None]:
    """A folder as a mount of its own, so that it can be made read-only."""
    _mount("--bind", str(folder), str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


def read_only(folder: Path, *, on: bool) -> None:
    """Make a mount read-only, or writable again. Files open for writing stop the former."""
    _mount("-o", f"remount,bind,{'ro' if on else 'rw'}", str(folder))


class Clocks:
    """A clock for each process, moved while it runs.

    Args:
        folder: where its offsets are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._library = _faketime()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sitecustomize.py").write_text(SLEEP)

    def of(self, name: str) -> Mapping[str, str]:
        """The environment of a process that goes by the clock of this name."""
        self.set(name, 0)
        return {
            "LD_PRELOAD": str(self._library),
            "PYTHONPATH": str(self._folder),
            "FAKETIME_TIMESTAMP_FILE": str(self._folder / name),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, name: str, seconds: int) -> None:
        """Set a clock by so many seconds off the machine's."""
        file = self._folder / name
        file.with_suffix(".part").write_text(f"{seconds:+d}\n")
        file.with_suffix(".part").replace(file)


def _faketime() -> Path:
    for pattern in (os.environ.get("LIBFAKETIME", ""), *FAKETIME):
        path = Path(pattern)
        if pattern and path.is_absolute():
            for found in Path("/").glob(pattern.lstrip("/")):
                return found
    raise Unavailable(
        "libfaketime is not installed (Debian: libfaketime), nor named by LIBFAKETIME"
    )


def _mount(*words: str) -> None:
    if os.geteuid() != 0:
        raise Unavailable("mounting needs root")
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(done.stderr.strip() or "mount failed")
