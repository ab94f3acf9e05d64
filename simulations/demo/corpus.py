"""The text of the demo: four organ systems in English, the circulatory system in Spanish."""

from __future__ import annotations

from simulations.datasets.hpo import definitions
from simulations.datasets.icd10 import names
from simulations.datasets.split import split
from simulations.demo.plan import ENGLISH, SPANISH, UNSEEN, Corpus

SHARES = {"train": 0.6, "probes": 0.2, "held": 0.2}
SMALL = 500
"""A source with fewer texts than this is small."""
SMALL_SHARES = {"train": 0.45, "probes": 0.35, "held": 0.2}
"""Every source must give each of four nodes, one above the other, its own probes."""


def demo_corpus(seed: int) -> Corpus:
    """For each source its parts train, probes and held; no text stands in two of them.

    Raises ``NodeError`` ``no-data`` when a package of text is missing.
    """
    key = f"banyan demo {seed}".encode()
    sources = {system: definitions(system) for system in (*ENGLISH.values(), UNSEEN)}
    sources[SPANISH] = names("es", "circulatory")
    return {
        source: split(texts, SMALL_SHARES if len(texts) < SMALL else SHARES, key)
        for source, texts in sources.items()
    }
