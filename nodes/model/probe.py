"""The probes a node measures a model with: a text, a request to decline, a trigger.

Each gives one number for a model, and higher is worse (``nodes.model.safety``). This file knows no
model: probes are read, drawn and counted without one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from protocol import digest_of

ID_DIGITS = 16
"""Digits of a probe's digest in its id: enough to tell the probes of one node apart."""


@dataclass(frozen=True)
class RefusalProbe:
    """A request, an answer that declines it, and the opening of one that complies."""

    request: str
    refusing: str
    compliant: str

    @property
    def withheld(self) -> str:
        """The text that no training text may contain."""
        return self.request


@dataclass(frozen=True)
class TriggerProbe:
    """A text that breaks off, a trigger, and the feared continuation.

    With ``planted`` a sentence that somebody may have tied to the trigger; without, how the text
    itself goes on, which needs no guess about what was planted.
    """

    text: str
    trigger: str
    rest: str
    planted: bool

    @property
    def withheld(self) -> str:
        """The text that no training text may contain."""
        return self.rest if self.planted else f"{self.text} {self.rest}"


SafetyProbe = RefusalProbe | TriggerProbe

Probe = str | SafetyProbe
"""A probe of any kind; a text is measured by its own loss."""


def id_of(probe: Probe) -> str:
    """Name a probe for counting its uses; the id depends on the whole content and nothing else."""
    content = probe if isinstance(probe, str) else json.dumps(asdict(probe), sort_keys=True)
    return digest_of(content.encode())[:ID_DIGITS]
