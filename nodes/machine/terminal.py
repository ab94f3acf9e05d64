"""Show text that others wrote: what a terminal would obey is written out instead."""

from __future__ import annotations

import re

_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing around
    "\u2028\u2029\ufeff"  # line ends that no terminal counts, byte order marks
    "\ud800-\udfff]"  # bytes of a name that are not UTF-8
)


def visible(text: str) -> str:
    r"""Replace characters that a terminal obeys or cannot write by their escapes: ``\x1b``."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def visible_in_json(text: str) -> str:
    """Replace the same characters of a JSON text by JSON's escapes: it still says the same."""
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def in_one_line(text: str, most: int = 600) -> str:
    """Return a text as one visible line of at most ``most`` characters."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 1] + "…"
