"""``--text`` and ``--probes``: the files that a new node trains on and measures with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

TextOption = Annotated[
    list[Path] | None,
    typer.Option("--text", help="A file that the device trains on; may be repeated."),
]
ProbesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--probes",
        metavar="[NAME=]FILE",
        help="A file to measure candidates with, as a source of this name; may be repeated.",
    ),
]


def own_text(
    texts: Sequence[Path] | None, probes: Sequence[str] | None
) -> dict[str, dict[str, Any]]:
    """Return the ``[data]`` section that names these files, by absolute paths; empty without any.

    Raises ``NodeError``: ``no-text`` and ``bad-text`` for a file that cannot be read as text,
    ``usage`` for two sources of one name.
    """
    from nodes.errors import NodeError
    from nodes.text.files import read_texts

    sources: dict[str, Path] = {}
    for given in probes or ():
        name, separator, file = given.rpartition("=")
        path = Path(file)
        name = name if separator else path.stem
        if name in sources:
            raise NodeError("usage", f"Two files are named {name}: give --probes NAME=FILE.")
        sources[name] = path
    data: dict[str, Any] = {}
    if texts:
        data["train"] = [path.resolve() for path in texts]
    if sources:
        data["probes"] = {name: path.resolve() for name, path in sources.items()}
    for path in (*data.get("train", ()), *data.get("probes", {}).values()):
        read_texts(path)
    return {"data": data} if data else {}
