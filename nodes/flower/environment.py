"""Switches that must be set before flwr is imported: no telemetry, no look-ups, its own folder."""

from __future__ import annotations

import os
from pathlib import Path


def prepare_environment(folder: Path) -> None:
    """Keep flwr quiet and to itself; ``folder`` becomes its home."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        FLWR_HOME=str(folder),
        FLWR_TELEMETRY_ENABLED="0",
        FLWR_DISABLE_UPDATE_CHECK="1",
        FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION="1",
    )
