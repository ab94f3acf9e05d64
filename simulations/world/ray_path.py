"""Ray in a folder whose path has a space.

Ray starts its workers through ``bash -c`` and quotes every argument but the interpreter's path: in
such a folder no worker ever starts, and the network waits for them. It takes another interpreter
from the runtime environment, and asks a hook for that: ours names the same one, quoted.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any

HOOK = "RAY_RUNTIME_ENV_HOOK"


def quoted_interpreter(runtime_env: dict[str, Any] | None) -> dict[str, Any]:
    """Name this process's interpreter as a shell reads it; Ray calls this when it starts."""
    return {"py_executable": shlex.quote(sys.executable), **(runtime_env or {})}


def prepare_ray() -> None:
    """Make Ray's workers start from this folder too; do nothing where its path needs no quotes."""
    if shlex.quote(sys.executable) != sys.executable:
        os.environ.setdefault(HOOK, f"{__name__}.{quoted_interpreter.__name__}")
