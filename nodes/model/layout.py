"""The layout of θ: which layers an adapter covers and where each lies in the flat vector.

θ is every layer's B, (out, R) row-major, one after the other in the order of the model. The layout
is hashed; two nodes with the same digest agree about every coordinate. Knows no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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

        Raises ``ValueError`` when there are none, or when ``rank`` exceeds a layer's inputs.
        """
        from torch.nn import Linear

        layers = tuple(
            Layer(name, module.out_features, module.in_features)
            for name, module in model.named_modules()
            if isinstance(module, Linear) and name.rpartition(".")[2] in targets
        )
        if not layers:
            raise ValueError(f"the model has no linear layers named {', '.join(targets)}")
        if rank > min(layer.inp for layer in layers):
            raise ValueError(f"rank {rank} is more than the inputs of the narrowest layer")
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
