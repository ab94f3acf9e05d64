"""The text of the demo, already split: for each source what to train on, probe with, hold out."""

from __future__ import annotations

from simulations.datasets.hpo import definitions
from simulations.datasets.icd10 import names
from simulations.datasets.split import split

SHARES = {"train": 0.6, "probes": 0.2, "held": 0.2}
SYSTEMS = ("cardiovascular", "nervous", "respiratory", "integument")


def demo_corpus(seed: int) -> dict[str, dict[str, list[str]]]:
    """English definitions of four organ systems and the Spanish names of circulatory diseases."""
    key = f"banyan demo {seed}".encode()
    corpus = {system: split(definitions(system), SHARES, key) for system in SYSTEMS}
    corpus["es-circulatory"] = split(names("es", "circulatory"), SHARES, key)
    return corpus
