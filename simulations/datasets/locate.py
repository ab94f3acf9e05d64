"""Finding the files of an installed package without importing it: its code never runs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from nodes.errors import NodeError


def package_file(package: str, inside: str, project: str) -> Path:
    """The file at ``inside`` (a glob pattern) of a top-level package, first by name.

    ``project`` is the name under which the package is installed. Raises ``NodeError`` ``no-data``.
    """
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        files = sorted(Path(place).glob(inside))
        if files:
            return files[0]
    raise NodeError(
        "no-data", f"{package}/{inside} is not installed; install the package {project}."
    )
