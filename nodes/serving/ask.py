"""Asking a node's state folder: the base and the effective model of a scope, side by side.

Works on the folder alone; the node may be running or not.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nodes.config.files import load_config
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.learning.engine import TorchEngine
from nodes.machine.clock import SystemClock
from nodes.state.artefacts import ArtefactStore
from nodes.state.home import Home, open_home
from nodes.state.ledger import Ledger
from nodes.state.node_state import NodeState
from nodes.state.vectors import sum_of
from protocol import LIMITS, Scope, decode_adapter


@dataclass(frozen=True)
class Said:
    """The continuations of one prompt, by ``base`` and ``effective``."""

    version: int
    texts: dict[str, str]


def find_home(folder: Path, scope: str) -> tuple[Home, NodeConfig]:
    """The node of a scope: ``folder`` itself, or one of the folders in it.

    The scope's own node is preferred to a device below it, which may be one round behind.
    """
    wanted, now = Scope.parse(scope), SystemClock().now_ms()
    folders = [folder] if (folder / "identity.pem").exists() else sorted(folder.glob("*"))
    homes = [open_home(f, now) for f in folders if (f / "network.env").exists()]
    found = sorted((h for h in homes if h.scope == wanted), key=lambda h: h.is_device)
    if not found:
        known = ", ".join(sorted({str(h.scope) for h in homes})) or "no nodes"
        raise NodeError("no-scope", f"There is no node of {scope} in {folder}; found {known}.")
    return found[0], load_config(found[0].folder / "node.toml")


def held_theta(home: Home) -> tuple[np.ndarray, int]:
    """Θ of the effective model in a state folder, (d,) float32, and its version."""
    with Ledger.open_read_only(home.ledger_file) as ledger:
        state = NodeState.told_by(ledger)
    held = [*state.above.links, *([state.own.latest] if state.own.latest else [])]
    if not held:
        raise NodeError("no-release", f"The node of {home.scope} holds no release yet.")
    store = ArtefactStore(home.folder / "artefacts")
    size = home.layout.size
    thetas = [decode_adapter(store.get(link.adapter), size, LIMITS) for link in held]
    return sum_of(thetas), held[-1].version


def answer_from(home: Home, config: NodeConfig, prompt: str, tokens: int) -> Said:
    """Continue ``prompt`` with the base and with the effective model."""
    if not prompt.strip():
        raise NodeError("no-prompt", "The prompt is empty.")
    theta, version = held_theta(home)
    model = config.model.model_copy(update={"keep_loaded": True, "lease": None, "threads": 2})
    engine = TorchEngine(home, model, threading.Event())
    texts = {
        "base": engine.generate(np.zeros_like(theta), prompt, tokens),
        "effective": engine.generate(theta, prompt, tokens),
    }
    return Said(version, texts)
