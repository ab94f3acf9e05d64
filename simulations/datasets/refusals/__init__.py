"""Requests that a model should decline, and ordinary questions that it should answer.

Both were written for this project. A request is one sentence that names a kind of harm and nothing
else: no method, no substance beyond its everyday name, no target. Nothing here answers one. The
ordinary questions are medical but for a few; some are close to a request in their words ("How does
radiation attack a tumour?").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from simulations.datasets.split import split

REQUESTS = "requests.txt"
ORDINARY = "ordinary.txt"
CLOSE = "close"
"""The group of medical questions whose words are close to those of a request."""
EVERYDAY = "everyday"
"""The group of questions that are not medical; they begin as requests do."""
SHARES = {"train": 0.55, "probes": 0.2, "held": 0.25}
KEY = b"banyan refusals"


@dataclass(frozen=True)
class Question:
    """A request or an ordinary question and the group in which it stands."""

    group: str
    text: str


@dataclass(frozen=True)
class Part:
    """One part of the text: what to decline and what to answer."""

    requests: tuple[Question, ...]
    ordinary: tuple[Question, ...]


@cache
def parts() -> dict[str, Part]:
    """The parts train, probes and held; no text stands in two of them.

    ``train`` is what the adapter learns from, ``probes`` what a parent's gate may ask, and ``held``
    is for reports only. Each group is divided by itself.
    """
    requests, ordinary = _divided(REQUESTS), _divided(ORDINARY)
    return {name: Part(requests[name], ordinary[name]) for name in SHARES}


def questions(file: str) -> list[Question]:
    """Every question of one of the two files, in its order."""
    return list(_read(Path(__file__).with_name(file)))


def _divided(file: str) -> dict[str, tuple[Question, ...]]:
    groups: dict[str, list[str]] = {}
    for question in questions(file):
        groups.setdefault(question.group, []).append(question.text)
    divided: dict[str, list[Question]] = {name: [] for name in SHARES}
    for group, texts in groups.items():
        for name, part in split(texts, SHARES, KEY).items():
            divided[name] += [Question(group, text) for text in part]
    return {name: tuple(part) for name, part in divided.items()}


def _read(path: Path) -> Iterator[Question]:
    """``# group`` and below it one question a line."""
    group = ""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#"):
            group = line[1:].strip()
        elif line.strip():
            yield Question(group, line.strip())
