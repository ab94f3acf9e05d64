"""The fixed matrices A: for every layer (R, inp) float32 with orthonormal rows, drawn once.

Because A·Aᵀ = I, ‖B·A‖ = ‖B‖: every norm and distance in θ-space is the one in weight space. The
result is shipped and not drawn again, since QR differs between library versions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nodes.model.layout import Layout
from protocol import Code, Refused
from protocol.tensors import parse_tensors, write_tensors

Matrix = NDArray[np.float32]

TOLERANCE = 1e-4
"""How far A·Aᵀ may be from the identity."""


def draw_basis(layout: Layout, seed: int) -> dict[str, Matrix]:
    """Draw A for every layer: the Q of a Gaussian's QR, with the signs of R's diagonal made +."""
    rng = np.random.default_rng(seed)
    basis = {}
    for layer in layout.layers:
        q, r = np.linalg.qr(rng.standard_normal((layer.inp, layout.rank)))
        basis[layer.name] = np.ascontiguousarray((q * np.sign(np.diag(r))).T.astype(np.float32))
    return basis


def to_bytes(basis: Mapping[str, Matrix]) -> bytes:
    """Encode a basis as safetensors."""
    return write_tensors(basis)


def from_bytes(data: bytes, layout: Layout) -> dict[str, Matrix]:
    """Read a basis and check that its rows are orthonormal.

    Raises ``Refused``: what ``parse_tensors`` refuses, and ``bad-tensors`` when they are not.
    """
    expected = {layer.name: ("F32", (layout.rank, layer.inp)) for layer in layout.layers}
    basis = parse_tensors(data, expected)
    for name, a in basis.items():
        if np.abs(a @ a.T - np.eye(layout.rank)).max() > TOLERANCE:
            raise Refused(Code.BAD_TENSORS, f"The rows of A for {name} are not orthonormal.")
    return basis
