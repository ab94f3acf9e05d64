"""How every command speaks: tables for people, ``--json`` for programs, errors as one sentence.

What is printed may have been written by others: answers of a model, names of children, folders. It
is never read as markup, and control characters are written out. Style is given by ``Text``.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from nodes.machine.terminal import visible, visible_in_json


class PlainConsole(Console):
    """A console on which strings are text, never markup, emoji names or control characters."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **style: Any) -> Text:
        """Make a ``Text`` of a string, with what a terminal would obey written out."""
        return super().render_str(visible(text), **style)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, with what a terminal would obey written out also where it came as ``Text``."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


console = PlainConsole()
errors = PlainConsole(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_CHUNK = 1 << 20
EXIT_REFUSED = 1
"""Exit status of an error; 2 is that of a command line that cannot be parsed."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn every error into one line on stderr and exit status 1; with ``--debug`` let it through.

    Mistakes on the command line, Ctrl-C and a closed pipe are left to click.
    """
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except Exception as error:
        if _debugging():
            raise
        from nodes.cli.explain import explained  # here: --help loads neither numpy nor keys

        say(*explained(error))
        raise typer.Exit(EXIT_REFUSED) from None


def say(code: str, sentence: str, style: str = "bold red") -> None:
    """Print a code and its sentence as one line on stderr."""
    line = Text.assemble((code, style), ": ", visible(" ".join(sentence.split())))
    errors.print(line, soft_wrap=True)


def _debugging() -> bool:
    """Return whether the command was called with ``--debug`` or BANYAN_DEBUG."""
    context = click.get_current_context(silent=True)
    return bool(context and context.find_root().params.get("debug"))


def write_any_letter() -> None:
    """Let the standard streams replace letters that the terminal's encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")


def print_json(value: Any) -> None:
    """Print JSON, one document; in ASCII where stdout cannot write all its letters."""
    text = visible_in_json(json.dumps(value, indent=2, ensure_ascii=False))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    sys.stdout.write(f"{text}\n")


def check_place(path: Path, code: str) -> None:
    """Check that a file can be written there, before anything is done that its content is of.

    Raises ``NodeError`` with ``code``.
    """
    from nodes.errors import NodeError

    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise NodeError(code, f"{path} cannot be written: {error.strerror}.") from None


def read_file(path: Path, code: str, most: int = sys.maxsize) -> bytes:
    """Read a file that a person named.

    Raises ``NodeError`` with ``code`` when that fails or the file has more than ``most`` bytes.
    """
    from nodes.errors import NodeError

    try:
        with path.open("rb") as file:
            data = bytearray()
            while chunk := file.read(_CHUNK):
                data += chunk
                if len(data) > most:
                    raise NodeError(code, f"{path} has over {most:,} bytes, the most it may have.")
    except OSError as error:
        raise NodeError(code, f"{path} cannot be read: {error.strerror}.") from None
    return bytes(data)
