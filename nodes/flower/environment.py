"""Set Flower's switches in a process before Flower is imported in it.

A node reports to nobody, looks for no updates, installs nothing, and keeps Flower's files in its
own folder. Flower reads these switches when it is imported, so this module does not import Flower.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

SWITCHES = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}

MALLOC_ARENAS = 2
"""Heaps that glibc keeps for threads. Flower's server uses many threads, each of which would
otherwise hold megabytes of what passed through it."""

_M_ARENA_MAX = -8  # the number that mallopt(3) gives to M_ARENA_MAX


def prepare_environment(flwr_home: Path) -> None:
    """Set Flower's switches for this process and its children. Call it before importing flwr.

    Args:
        flwr_home: where Flower may keep files of its own; made when it is needed, by Flower.
    """
    os.environ.update(SWITCHES, FLWR_HOME=str(flwr_home))
    os.environ.setdefault("MALLOC_ARENA_MAX", str(MALLOC_ARENAS))  # for processes started later
    limit_arenas()


def limit_arenas() -> None:
    """Limit glibc to ``MALLOC_ARENAS`` heaps in this process; do nothing without glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    mallopt(_M_ARENA_MAX, MALLOC_ARENAS)
