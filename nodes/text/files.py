"""Read a node's own text files: the edge where text enters.

===========  ===========================================================================
``.txt``     one document a line
``.md``      one document a paragraph: what stands between blank lines, under its heading
``.jsonl``   one object a line; its ``text`` is the document, or what it holds of a chat or an
             instruction, see ``nodes.text.chats``
``.csv``     one row a document; the column ``text``, or the only one there is. The first
             line names the columns, parted by commas, semicolons or tabs
===========  ===========================================================================

All are UTF-8, or UTF-16 that begins with its byte order mark. Empty documents are dropped. Text
never leaves the node; nothing here writes to what it read.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from nodes.errors import NodeError
from nodes.text import chats

COLUMN = "text"
"""The name of the text in an object or a table, if no other is given."""
_FENCES = ("```", "~~~")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

csv.field_size_limit(2**31 - 1)  # a long document is cut where it is stored, not refused


def read_texts(path: Path, column: str = COLUMN) -> list[str]:
    """Read all documents of one file, in order.

    Raises ``NodeError``: ``no-text`` (missing), ``bad-text`` (not UTF-8, not JSON, no ``column``,
    an ending that is not known), naming the file and the line.
    """
    return parse_texts(path, read_file(path), column)


def parse_texts(path: Path, data: bytes, column: str = COLUMN) -> list[str]:
    """Parse the documents of a file's content. ``path`` gives the form, and its name to mistakes.

    Raises ``NodeError`` ``bad-text``.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise NodeError("bad-text", f"{path}: expected {known}, got {path.suffix or 'none'}.")
    texts = reader(path, decode(path, data), column)
    return [text for text in map(str.strip, texts) if text]


def read_file(path: Path) -> bytes:
    """Read a file. Raises ``NodeError`` ``no-text`` when there is none or it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NodeError("no-text", f"There is no text file at {path}.") from None
    except IsADirectoryError:
        raise NodeError(
            "no-text", f"{path} is a folder: name its files, or watch it with [data] watch."
        ) from None
    except OSError as error:
        raise NodeError("no-text", f"{path} cannot be read: {error.strerror}.") from None


def decode(path: Path, data: bytes) -> str:
    """Decode a file into text whose lines end in line feeds. Raises ``NodeError`` ``bad-text``."""
    try:
        content = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NodeError(
            "bad-text",
            f"{path}, line {line}: this is not UTF-8 text ({error.reason}); save it as UTF-8, such "
            "as with `iconv -f latin1 -t utf-8`.",
        ) from None
    return content.replace("\r\n", "\n").replace("\r", "\n")


def write_texts(path: Path, texts: Iterable[str]) -> None:
    """Write documents as ``.jsonl``, for whoever prepares a node's folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"text": text}, ensure_ascii=False) for text in texts)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _lines(_path: Path, content: str, _column: str) -> list[str]:
    # Only at line feeds: JSON may hold other characters that ``splitlines`` takes for line ends.
    return content.split("\n")


def _paragraphs(_path: Path, content: str, _column: str) -> list[str]:
    blocks: list[list[str]] = [[]]
    fence = ""
    for line in content.split("\n"):
        start = line.lstrip()[:3]
        if start in _FENCES and fence in ("", start):
            fence = "" if fence else start
        headings_only = all(_is_heading(earlier) for earlier in blocks[-1])
        if line.strip() or fence:
            if _is_heading(line) and not fence and not headings_only:
                blocks.append([])
            blocks[-1].append(line.rstrip())
        elif not headings_only:
            blocks.append([])
    # Headings without text below them say nothing.
    return ["\n".join(block) for block in blocks if not all(map(_is_heading, block))]


def _is_heading(line: str) -> bool:
    level = len(line) - len(line.lstrip("#"))
    return 1 <= level <= 6 and line[level : level + 1] in ("", " ")


def _objects(path: Path, content: str, column: str) -> list[str]:
    lines = enumerate(_lines(path, content, column), 1)
    return [_text_of(path, i, line, column) for i, line in lines if line.strip()]


def _text_of(path: Path, number: int, line: str, column: str) -> str:
    try:
        fields = json.loads(line)
        text = fields[column] if column in fields else chats.rendered(fields)
        if isinstance(text, list):
            text = chats.rendered_messages(text)
        if isinstance(text, str):
            text.encode()  # JSON can write halves of characters, which nothing can store
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise NodeError(
            "bad-text",
            f'{path}, line {number}: expected an object such as {{"{column}": "…"}}, or one with '
            f"{chats.FORMS}.",
        )
    return text


def _rows(path: Path, content: str, column: str) -> list[str]:
    header = content.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    texts = []
    try:
        names = [name.strip() for name in next(reader, [])]
        at = _column_of(path, names, column)
        for row in reader:
            if row and len(row) != len(names):
                raise NodeError(
                    "bad-text",
                    f"{path}, line {reader.line_num}: expected {len(names)} columns, "
                    f"got {len(row)}.",
                )
            texts += row[at : at + 1]
    except csv.Error as error:
        raise NodeError("bad-text", f"{path}, line {reader.line_num}: {error}.") from None
    return texts


def _column_of(path: Path, names: list[str], column: str) -> int:
    if names.count(column) == 1:
        return names.index(column)
    if len(names) == 1:
        return 0
    raise NodeError(
        "bad-text", f"{path}: expected one column {column!r}, got {', '.join(names) or 'none'}."
    )


READERS: Mapping[str, Callable[[Path, str, str], list[str]]] = {
    ".txt": _lines,
    ".md": _paragraphs,
    ".jsonl": _objects,
    ".csv": _rows,
}
"""The reader of each file ending."""
