"""How every command speaks: tables for people, ``--json`` for programs, errors as one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

console = Console()
errors = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

EXIT_REFUSED = 1
"""Exit status of an error that has a code; 2 is that of a command line that cannot be parsed."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn an error that has a code into one line on stderr and exit status 1."""
    from aggregation import AggregationError  # here, so that --help loads neither numpy nor keys
    from nodes.errors import NodeError
    from protocol import ProtocolError

    try:
        yield
    except (NodeError, ProtocolError, AggregationError) as error:
        # Sentences name sections of node.toml, such as [gate.kinds]: not a markup of colours.
        line = f"[bold red]{error.code}[/]: {escape(error.sentence)}"
        errors.print(line, highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_REFUSED) from None


def print_json(value: Any) -> None:
    """Print JSON, one document."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def read_file(path: Path, code: str) -> bytes:
    """Read a file that a person named. Raises ``NodeError`` with ``code`` when that fails."""
    from nodes.errors import NodeError

    try:
        return path.read_bytes()
    except OSError as error:
        raise NodeError(code, f"{path} cannot be read: {error.strerror}.") from None
