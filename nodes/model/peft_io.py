"""Export an adapter as an ordinary PEFT LoRA folder, and import it again.

What is written loads with plain PEFT: ``lora_A`` is the basis, ``lora_B`` the chain's B and
``lora_alpha`` equals the rank, so the scale is one. Only an adapter in the network's own
coordinates can be read back: another A spans other directions, and its B means nothing here.
Knows no torch and does not need PEFT.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from nodes.errors import NodeError
from nodes.model.layout import Layer, Layout

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
TOLERANCE = 1e-5
"""How far a value of ``lora_A`` may be from the basis."""


def export_peft(
    folder: Path,
    base_reference: str,
    layout: Layout,
    basis: Mapping[str, NDArray[np.float32]],
    theta: NDArray[np.float32],
) -> None:
    """Write base + Θ as a LoRA of rank R; ``theta`` is (d,) float32.

    ``base_reference`` is the folder or hub id that PEFT shall load the base from.
    Raises ``ValueError`` when ``theta`` does not fit the layout.
    """
    if theta.shape != (layout.size,):
        raise ValueError(f"theta has shape {theta.shape}, expected ({layout.size},)")
    tensors = {}
    for layer, part in layout.parts():
        b = theta[part].reshape(layer.out, layout.rank)
        tensors[_key(layer, "A")] = np.ascontiguousarray(basis[layer.name], np.float32)
        tensors[_key(layer, "B")] = np.ascontiguousarray(b, np.float32)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_reference,
        "inference_mode": True,
        "r": layout.rank,
        "lora_alpha": layout.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "target_modules": [layer.name for layer in layout.layers],
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def import_peft(
    folder: Path, layout: Layout, basis: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Read Θ, (d,) float32, from a PEFT folder that uses this network's basis.

    Raises ``NodeError``: ``no-adapter`` when the folder holds none that can be read, and
    ``foreign-adapter`` when its layers, rank, scale or A are not the network's.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as e:
        raise NodeError("no-adapter", f"{folder} holds no readable PEFT adapter: {e}") from e
    _check_config(config, layout)
    expected = {_key(layer, factor) for layer in layout.layers for factor in "AB"}
    if set(tensors) != expected:
        raise _foreign("it does not cover the same layers with A and B")
    theta = np.empty(layout.size, np.float32)
    for layer, part in layout.parts():
        a, b = tensors[_key(layer, "A")], tensors[_key(layer, "B")]
        own = basis[layer.name]
        if a.shape != own.shape or not np.abs(a.astype(np.float32) - own).max() <= TOLERANCE:
            raise _foreign(f"its lora_A of {layer.name} is not this network's")
        if b.shape != (layer.out, layout.rank) or not np.isfinite(b).all():
            raise _foreign(f"its lora_B of {layer.name} has the wrong shape or is not finite")
        theta[part] = b.astype(np.float32).reshape(-1)
    return theta


def _check_config(config: Any, layout: Layout) -> None:
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise _foreign("it is not a LoRA adapter")
    if config.get("r") != layout.rank:
        raise _foreign(f"its rank is {config.get('r')}, the network's {layout.rank}")
    # Whatever changes the scale or the product makes B mean something else.
    special = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "fan_in_fan_out")
    if config.get("lora_alpha") != layout.rank or any(config.get(name) for name in special):
        raise _foreign("its scale is not one: lora_alpha must equal r, without variants of LoRA")


def _foreign(why: str) -> NodeError:
    return NodeError(
        "foreign-adapter",
        f"The adapter is not in this network's coordinates: {why}. Only what was exported from "
        "this network can be imported; train on the texts instead.",
    )


def _key(layer: Layer, factor: str) -> str:
    return f"base_model.model.{layer.name}.lora_{factor}.weight"
