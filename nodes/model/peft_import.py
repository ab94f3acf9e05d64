"""Read a PEFT LoRA adapter and project it into a network's coordinates.

A foreign adapter adds s·B·A to a layer, with an A of its own. The nearest change that the network's
fixed A can express is B' = s·B·(A·A'ᵀ), with A' the network's; what lies outside the rows of A' is
lost, and how much that is, is said. Only safetensors are read, never pickles. Knows no torch.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from nodes.errors import NodeError
from nodes.model.layout import Layer, Layout
from nodes.model.peft_io import CONFIG, PREFIX, WEIGHTS

Matrix = NDArray[np.float64]

_KEY = re.compile(re.escape(PREFIX) + r"(.+)\.lora_([AB])\.weight")
_PICKLE = "adapter_model.bin"
_MOST_CONFIG_BYTES = 1 << 20
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
_READ = {
    *("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "peft_type"),
    # Where the adapter is: its tensors say so themselves.
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    # Of training, of the library, or names.
    *("task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "lora_dropout", "fan_in_fan_out", "runtime_config"),
    *("eva_config", "megatron_core", "qalora_group_size", "ensure_weight_tying"),
}
"""Keys of a configuration that are read, or change nothing about the product of B and A."""
_INNOCENT: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none",),
    "init_lora_weights": (True, "gaussian", "eva", "orthogonal"),
}
"""Values that change nothing; others, such as ``pissa``, need another base than the network's."""
_REASONS = {
    "use_dora": "it is a DoRA adapter, which also scales the base's weights",
    "modules_to_save": "it replaces whole layers of the base",
    "trainable_token_indices": "it replaces rows of the embedding",
    "bias": "it also trained the base's biases",
    "lora_bias": "its B has a bias",
    "init_lora_weights": "its A and B were drawn from the base's weights, which it changed",
    "layer_replication": "it doubles layers of the base",
}


@dataclass(frozen=True)
class LayerLoss:
    """How much of an adapter's change of one layer is kept; norms are Frobenius norms.

    ``why`` says why nothing of it is kept, if so.
    """

    name: str
    norm: float
    lost: float
    why: str = ""

    @property
    def share(self) -> float:
        """The lost part of the norm, from 0 to 1."""
        return self.lost / self.norm if self.norm else 0.0


@dataclass(frozen=True, eq=False)
class Imported:
    """An adapter in the network's coordinates, θ (d,) float32, and what the projection lost."""

    theta: NDArray[np.float32]
    layers: tuple[LayerLoss, ...]

    @property
    def lost(self) -> float:
        """The lost part of the norm of the whole change, from 0 to 1."""
        norm = math.sqrt(sum(layer.norm**2 for layer in self.layers))
        return math.sqrt(sum(layer.lost**2 for layer in self.layers)) / norm if norm else 0.0


def is_peft(path: Path) -> bool:
    """Tell whether a path is a PEFT adapter's folder, or one of its files."""
    folder = path if path.is_dir() else path.parent
    files = {CONFIG, WEIGHTS, _PICKLE}
    return (path.is_dir() and any((path / name).is_file() for name in files)) or (
        path.name in files and (folder / CONFIG).is_file()
    )


def import_peft(
    folder: Path,
    layout: Layout,
    basis: Mapping[str, NDArray[np.float32]],
    layers_of_base: Callable[[Sequence[str]], Sequence[Layer]],
) -> Imported:
    """Read a PEFT LoRA adapter as θ of this network.

    Args:
        layers_of_base: gives the linear layers of the base whose names end so; asked only where the
            adapter has layers that the network does not. Raises ``NodeError`` where it has none.

    Raises ``NodeError``: ``no-adapter`` when the folder holds none that can be read, and
    ``foreign-adapter`` with the reason when it cannot be expressed here.
    """
    config = _config(folder)
    factors = _factors(folder)
    own = {layer.name: layer for layer in layout.layers}
    if not own.keys() & factors.keys():
        raise _foreign(
            f"none of its layers, such as {next(iter(factors))}, is one that this network adapts, "
            f"such as {layout.layers[0].name}"
        )
    beyond = sorted({_last(name) for name in factors.keys() - own.keys()})
    known = own | ({x.name: x for x in layers_of_base(beyond)} if beyond else {})
    theta, losses = np.zeros(layout.size, np.float32), []
    places = {layer.name: part for layer, part in layout.parts()}
    for name, (a, b) in factors.items():
        _check_shapes(name, a, b, known.get(name))
        b = b * _scale(config, name, a.shape[0])
        norm = _norm(a, b)
        if name not in places:
            losses.append(LayerLoss(name, norm, norm, "this network does not adapt it"))
            continue
        ours = basis[name].astype(np.float64)
        into = a @ ours.T  # (r, R)
        theta[places[name]] = (b @ into).reshape(-1).astype(np.float32)
        losses.append(LayerLoss(name, norm, _norm(a - into @ ours, b)))
    if not np.isfinite(theta).all():
        raise _foreign("its numbers are too large")
    return Imported(theta, tuple(losses))


def _norm(a: Matrix, b: Matrix) -> float:
    """Compute ‖B·A‖ from two r×r products, without the (out, inp) matrix."""
    return math.sqrt(max(0.0, float(np.sum((b.T @ b) * (a @ a.T)))))


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG
    try:
        if path.stat().st_size > _MOST_CONFIG_BYTES:
            raise NodeError("no-adapter", f"{path} is too long for a configuration.")
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NodeError("no-adapter", f"{path} cannot be read: {str(error)[:120]}.") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise _foreign("it is not a LoRA adapter")
    for key, value in config.items():
        if key in _READ or not value or value in _INNOCENT.get(key, ()):
            continue
        reason = _REASONS.get(key, f"its configuration has {str(key)[:60]!r}, a variant of LoRA")
        raise _foreign(reason)
    return config


def _factors(folder: Path) -> dict[str, tuple[Matrix, Matrix]]:
    """Read A (r, inp) and B (out, r) of each layer, in the order of the names."""
    path = folder / WEIGHTS
    if not path.is_file():
        pickled = f"; {_PICKLE} is a pickle and is not read" if (folder / _PICKLE).exists() else ""
        raise NodeError("no-adapter", f"{folder} has no {WEIGHTS}{pickled}.")
    try:
        tensors = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    except (OSError, ValueError, SafetensorError) as error:
        raise NodeError("no-adapter", f"{path} cannot be read: {str(error)[:120]}.") from None
    names = sorted(tensors)
    for name in names:
        if not _KEY.fullmatch(name):
            raise _foreign(_stray(name))
    found = {name: _matrix(name, tensors[name]) for name in names}
    layers = sorted({match[1] for name in names if (match := _KEY.fullmatch(name))})
    if not layers:
        raise NodeError("no-adapter", f"{path} holds no tensors.")
    keys = {f"{PREFIX}{layer}.lora_{factor}.weight" for layer in layers for factor in "AB"}
    if missing := sorted(keys - found.keys()):
        raise _foreign(f"it lacks {missing[0]}")
    pairs = (
        (f"{PREFIX}{layer}.lora_A.weight", f"{PREFIX}{layer}.lora_B.weight") for layer in layers
    )
    return {layer: (found[a], found[b]) for layer, (a, b) in zip(layers, pairs, strict=True)}


def _stray(name: str) -> str:
    """Say what a tensor that is no factor of a linear layer is."""
    shown = name[:120]
    if "lora_embedding" in name:
        return f"it adapts an embedding ({shown})"
    if "magnitude" in name:
        return f"it is a DoRA adapter, which also scales the base's weights ({shown})"
    return f"it holds a tensor that is no A or B of a linear layer ({shown}), so more than LoRA"


def _matrix(name: str, tensor: Mapping[str, Any]) -> Matrix:
    """Read one matrix as float64. NumPy has no bfloat16: its bits are the upper half of float32."""
    if len(tensor["shape"]) != 2:
        raise _foreign(f"{name[:120]} is no matrix")
    if tensor["dtype"] == "BF16":
        halves = np.frombuffer(tensor["data"], "<u2").astype("<u4")
        values: NDArray[Any] = (halves << 16).view("<f4")
    elif tensor["dtype"] in _FLOATS:
        values = np.frombuffer(tensor["data"], _FLOATS[tensor["dtype"]])
    else:
        raise _foreign(f"{name[:120]} holds no floats: the adapter is quantised")
    if not np.isfinite(values).all():
        raise _foreign(f"{name[:120]} is not finite")
    return values.astype(np.float64).reshape(tensor["shape"])


def _check_shapes(name: str, a: Matrix, b: Matrix, layer: Layer | None) -> None:
    if layer is None:
        raise _foreign(f"the base has no layer {name[:120]}: it was made for another architecture")
    if a.shape[1] != layer.inp or b.shape[0] != layer.out or a.shape[0] != b.shape[1]:
        raise _foreign(
            f"{name} is {b.shape[0]} × {a.shape[1]} there and {layer.out} × {layer.inp} in this "
            "base: it was made for another one"
        )


def _scale(config: Mapping[str, Any], name: str, rank: int) -> float:
    """Return s of a layer, as PEFT computes it."""
    expected = _by_pattern(config, "rank_pattern", name, config.get("r"))
    alpha = _by_pattern(config, "alpha_pattern", name, config.get("lora_alpha", 8))
    if expected != rank:
        raise _foreign(f"{name} has rank {rank} in its tensors and {expected} in its configuration")
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise _foreign("its lora_alpha is no number")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _by_pattern(config: Mapping[str, Any], key: str, name: str, default: Any) -> Any:
    patterns = config.get(key) or {}
    for pattern, value in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", name):
                return value
        except re.error:
            raise _foreign(f"its {key} has {pattern[:60]!r}, no pattern") from None
    return default


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _foreign(why: str) -> NodeError:
    return NodeError("foreign-adapter", f"The adapter cannot be imported: {why}.")
