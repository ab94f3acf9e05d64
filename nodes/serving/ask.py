"""Continue a prompt with the base and with the effective model in a node's state folder.

Only the folder is read: the node may be running or not.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from nodes.config.files import load_config
from nodes.errors import NodeError
from nodes.learning.engine import TorchEngine
from nodes.state.artefacts import ArtefactStore
from nodes.state.home import Home
from nodes.state.ledger import Ledger
from nodes.state.node_state import NodeState
from nodes.state.vectors import sum_of
from protocol import LIMITS, decode_adapter


@dataclass(frozen=True)
class Answer:
    """The continuations of one prompt, under ``base`` and ``effective``."""

    version: int
    texts: dict[str, str]


def held_theta(home: Home) -> tuple[np.ndarray, int]:
    """Read Θ of the effective model in a state folder, (d,) float32, and its version.

    Raises ``NodeError`` ``no-release`` when the node has none yet.
    """
    state = NodeState()
    if home.ledger_file.exists():  # else the node never ran
        with Ledger.open_read_only(home.ledger_file) as ledger:
            state = NodeState.from_ledger(ledger)
    chain = [*state.above.links, *([state.own.latest] if state.own.latest else [])]
    if not chain:
        raise NodeError("no-release", f"The node of {home.scope} holds no release yet.")
    store = ArtefactStore.for_reading(home.folder / "artefacts")
    size = home.layout.size
    thetas = [decode_adapter(store.get(link.adapter), size, LIMITS) for link in chain]
    return sum_of(thetas), chain[-1].version


def answer_from(home: Home, prompt: str, tokens: int) -> Answer:
    """Continue ``prompt`` by ``tokens`` tokens with the base and with the effective model.

    Raises ``NodeError`` ``no-prompt`` when the prompt is empty, ``no-release`` as above.
    """
    if not prompt.strip():
        raise NodeError("no-prompt", "The prompt is empty.")
    theta, version = held_theta(home)
    config = load_config(home.folder / "node.toml")
    model = config.model.model_copy(update={"keep_loaded": True, "lease": None, "threads": 2})
    engine = TorchEngine(home, model, threading.Event())
    texts = {
        "base": engine.generate(np.zeros_like(theta), prompt, tokens),
        "effective": engine.generate(theta, prompt, tokens),
    }
    return Answer(version, texts)
