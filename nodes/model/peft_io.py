"""Export an effective model as an ordinary PEFT LoRA folder.

What is written loads with plain PEFT: ``lora_A`` is the basis, ``lora_B`` the chain's B and
``lora_alpha`` equals the rank, so the scale is one. ``nodes.model.peft_import`` reads adapters.
Knows no torch and does not need PEFT.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from nodes.model.layout import Layout

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


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
        key = f"{PREFIX}{layer.name}.lora_"
        tensors[f"{key}A.weight"] = np.ascontiguousarray(basis[layer.name], np.float32)
        tensors[f"{key}B.weight"] = np.ascontiguousarray(b, np.float32)
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
