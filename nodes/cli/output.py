"""How every command speaks: tables for people, ``--json`` for programs, errors as one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from aggregation import AggregationError
from nodes.errors import NodeError
from protocol import ProtocolError

console = Console()
errors = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

EXIT_REFUSED = 2
"""Exit status when the command understood the request and will not or cannot do it."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn the errors a person can act on into one line on stderr and exit status 2."""
    try:
        yield
    except (NodeError, ProtocolError, AggregationError) as error:
        # Sentences name sections of node.toml, such as [gate.kinds]: not a markup of colours.
        errors.print(f"[bold red]{error.code}[/]: {escape(error.sentence)}", highlight=False)
        raise typer.Exit(EXIT_REFUSED) from None


def print_json(value: Any) -> None:
    """Print JSON, one document."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
