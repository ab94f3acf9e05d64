"""How many files and connections this process may have open, which systems keep low by default."""

from __future__ import annotations

import sys

ENOUGH = 65_536


def raise_open_files() -> int:
    """Raise the limit as far as the system lets this process, up to ``ENOUGH``; return it."""
    if sys.platform == "win32":
        return ENOUGH
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= ENOUGH:
        return ENOUGH
    wanted = ENOUGH if hard == unlimited else min(hard, ENOUGH)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft
    return wanted
