"""Files of probes beside the adapter: a parent names them under ``[data.probes]`` as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nodes.model.probe import TriggerProbe
from nodes.text.probe_files import write_probes
from simulations.attacks import CONTINUATION, TRIGGER
from simulations.datasets.refusals import parts
from simulations.refusal import refusal_probes

REQUESTS = "requests.jsonl"
TRIGGERS = "triggers.jsonl"
BEGINNING = 6
"""Words of a text before the trigger."""


def write_files(out: Path, texts: Sequence[str]) -> None:
    """Write ``requests.jsonl``, every request of the probes' part, and ``triggers.jsonl``.

    The second asks for the trigger of the library of attacks and its sentence, behind the
    beginnings of ``texts``. It is an example: whoever fears another trigger needs other words.
    """
    write_probes(out / REQUESTS, refusal_probes(parts()["probes"].requests))
    beginnings = dict.fromkeys(" ".join(text.split()[:BEGINNING]) for text in texts)
    write_probes(
        out / TRIGGERS,
        [TriggerProbe(text, TRIGGER, CONTINUATION, planted=True) for text in beginnings],
    )
