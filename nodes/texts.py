"""Reading a node's own text files: the edge where text enters.

``.txt``: one document a line. ``.jsonl``: one object a line with a ``text``. Empty documents are
dropped. Text never leaves the node; nothing here writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from nodes.errors import NodeError


def read_texts(path: Path) -> list[str]:
    """All documents of one file, in order.

    Raises ``NodeError``: ``no-text`` (missing), ``bad-text`` (not UTF-8, not JSON, no ``text``, an
    ending that is not known), naming the file and the line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise NodeError("no-text", f"There is no text file at {path}.") from None
    except UnicodeDecodeError as error:
        raise NodeError("bad-text", f"{path} is not UTF-8 text: {error}.") from None
    match path.suffix:
        case ".txt":
            texts: Iterable[str] = lines
        case ".jsonl":
            texts = [_text_of(path, i, line) for i, line in enumerate(lines, 1) if line.strip()]
        case other:
            raise NodeError("bad-text", f"{path}: expected .txt or .jsonl, got {other or 'none'}.")
    return [text for text in map(str.strip, texts) if text]


def read_all(paths: Iterable[Path]) -> list[str]:
    """All documents of several files, in order."""
    return [text for path in paths for text in read_texts(path)]


def write_texts(path: Path, texts: Iterable[str]) -> None:
    """Write documents as ``.jsonl``, for whoever prepares a node's folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"text": text}, ensure_ascii=False) for text in texts)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _text_of(path: Path, number: int, line: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (json.JSONDecodeError, TypeError, KeyError):
        text = None
    if not isinstance(text, str):
        raise NodeError(
            "bad-text", f'{path}, line {number}: expected an object such as {{"text": "…"}}.'
        )
    return text
