"""How much memory a process can still get: of the machine, or of the group that bounds it."""

from __future__ import annotations

from pathlib import Path

import psutil

_GROUP = Path("/sys/fs/cgroup")


def free_bytes(group: Path = _GROUP) -> int:
    """Return the bytes that can still be had, swap included.

    Args:
        group: the folder of the control group whose limit also counts (version 2), as containers
            have it.
    """
    machine = int(psutil.virtual_memory().available) + int(psutil.swap_memory().free)
    try:
        most = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        counted = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return machine  # no group, or none with a limit
    reclaimable = int(counted.get("inactive_file", 0))
    return max(0, min(machine, most - used + reclaimable))
