"""Continue a prompt with the base and with the effective model in a node's state folder.

Only the folder is read: the node may be running or not.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from nodes.config.files import load_config
from nodes.errors import NodeError
from nodes.learning.engine import TorchEngine
from nodes.serving.held import held
from nodes.state.home import Home


@dataclass(frozen=True)
class Answer:
    """The continuations of one prompt, under ``base`` and ``effective``.

    ``learned`` counts what a personal device added to its own adapter, which takes part.
    """

    version: int
    learned: int
    texts: dict[str, str]


def answer_from(home: Home, prompt: str, tokens: int) -> Answer:
    """Continue ``prompt`` by ``tokens`` tokens with the base and with the effective model.

    Raises ``NodeError`` ``no-prompt`` when the prompt is empty, ``no-release`` when the node has
    none yet.
    """
    if not prompt.strip():
        raise NodeError("no-prompt", "The prompt is empty.")
    here = held(home)
    config = load_config(home.folder / "node.toml")
    # A person waits, so there is no turn to wait for.
    model = config.model.model_copy(update={"lease": None})
    engine = TorchEngine(home, model, threading.Event())
    base, effective = engine.continuations(here.theta, prompt, tokens)
    return Answer(here.version, here.learned, {"base": base, "effective": effective})
