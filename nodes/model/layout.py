"""The layout of θ: which layers an adapter covers and where each lies in the flat vector.

θ is every layer's B, (out, R) row-major, one after the other in the order of the model. The layout
is hashed; two nodes with the same digest agree about every coordinate. Knows no torch.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nodes.errors import NodeError
from protocol import Digest, digest_of

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(frozen=True)
class Layer:
    """A linear layer W (out, inp) by its full name in the model."""

    name: str
    out: int
    inp: int


@dataclass(frozen=True)
class Layout:
    """The layers of an adapter, in order, and the network's rank R."""

    layers: tuple[Layer, ...]
    rank: int

    @classmethod
    def of_model(cls, model: Module, targets: Sequence[str], rank: int) -> Layout:
        """Select the linear layers whose name ends in one of ``targets``, in the model's order.

        Raises ``NodeError``: ``bad-targets`` when a target is no linear layer of the model,
        ``tied-target`` when its weight is another layer's too, ``bad-rank`` when ``rank`` exceeds
        a layer's inputs.
        """
        from torch.nn import Linear

        linear = {
            name: module for name, module in model.named_modules() if isinstance(module, Linear)
        }
        tied = _tied(model)
        wanted = {name: m for name, m in linear.items() if _last(name) in targets}
        there = {_last(name) for name in wanted}
        if lacking := [target for target in targets if target not in there]:
            raise NodeError(
                "bad-targets",
                f"The base has no linear layer named {' or '.join(lacking)}; it has "
                f"{_listed(linear, tied)}.",
            )
        for name in wanted:
            if name in tied:
                raise NodeError(
                    "tied-target",
                    f"{name} has one weight with {tied[name]}: what an adapter adds to one of them "
                    "the other would lack, and an export would change both. Choose among "
                    f"{_listed(linear, tied)}.",
                )
        layers = tuple(Layer(name, m.out_features, m.in_features) for name, m in wanted.items())
        if rank > (narrowest := min(layer.inp for layer in layers)):
            raise NodeError(
                "bad-rank",
                f"Rank {rank} is more than the {narrowest} inputs of the narrowest layer.",
            )
        return cls(layers, rank)

    @property
    def size(self) -> int:
        """d, the length of θ."""
        return self.size_at(self.rank)

    def size_at(self, rank: int) -> int:
        """Return d_r, the number of values that a device of rank ``rank`` holds."""
        return sum(layer.out for layer in self.layers) * rank

    def mask_at(self, rank: int) -> NDArray[np.bool_]:
        """Return (d,) bool: what a rank-``rank`` device holds of θ, the first columns of each B."""
        mask: NDArray[np.bool_] = np.arange(self.size) % self.rank < rank
        return mask

    def parts(self) -> Iterator[tuple[Layer, slice]]:
        """Yield every layer with its place in θ."""
        at = 0
        for layer in self.layers:
            size = layer.out * self.rank
            yield layer, slice(at, at + size)
            at += size

    @property
    def digest(self) -> Digest:
        """The digest that names the layout."""
        return digest_of(self.to_json().encode())

    def to_json(self) -> str:
        """Return the layout as canonical JSON."""
        layers = [[layer.name, layer.out, layer.inp] for layer in self.layers]
        return json.dumps({"layers": layers, "rank": self.rank}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """Read what ``to_json`` wrote. Raises ``ValueError`` or ``KeyError``."""
        value = json.loads(text)
        layers = tuple(Layer(str(n), int(o), int(i)) for n, o, i in value["layers"])
        return cls(layers, int(value["rank"]))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _tied(model: Module) -> dict[str, str]:
    """Name for each module whose weight is another's too that other."""
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        if weight is not None:
            owners.setdefault(id(weight), []).append(name)
    return {
        name: next(other for other in names if other != name)
        for names in owners.values()
        if len(names) > 1
        for name in names
    }


def _listed(linear: Iterable[str], tied: Mapping[str, str]) -> str:
    """List the linear layers that can be adapted by the end of their names."""
    counts = Counter(_last(name) for name in linear if name not in tied)
    parts = [f"{name} ({count})" for name, count in counts.items()]
    parts += [
        f"{name} (tied to {tied[name]}, cannot be adapted)" for name in linear if name in tied
    ]
    return ", ".join(parts) or "no linear layers at all"
