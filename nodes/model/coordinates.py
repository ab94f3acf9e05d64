"""Draw a network's coordinates from its base: which layers, and the fixed matrices A."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol import Digest

DEFAULT_TARGETS = ("q_proj", "v_proj")


@dataclass(frozen=True)
class Coordinates:
    """The coordinates that the root ships once: the base's digests and the fixed matrices."""

    base: Digest
    tokenizer: Digest
    layout: str  # JSON
    layout_digest: Digest
    basis: bytes
    rank: int
    targets: tuple[str, ...]


def coordinates_of(
    base: Path, *, rank: int, targets: Sequence[str] | None = None, seed: int = 0
) -> Coordinates:
    """Draw the coordinates of a network on the base in a folder.

    Args:
        rank: R, rows of every A.
        targets: the ends of the names of the layers to adapt.
        seed: of the Gaussians whose QR gives A. The result is shipped, not drawn again: QR differs
            between library versions.

    Raises ``NodeError`` where there is no base that can be used (``nodes.model.base``), or no such
    layers (``nodes.model.layout``). No tensor is loaded: ``nodes.model.trial_run`` does that.
    """
    from nodes.model.base import outline_base
    from nodes.model.basis import draw_basis, to_bytes
    from nodes.model.digest import describe_base
    from nodes.model.layout import Layout

    info = describe_base(base)
    chosen = tuple(targets or DEFAULT_TARGETS)
    layout = Layout.of_model(outline_base(base), chosen, rank)
    return Coordinates(
        base=info.digest,
        tokenizer=info.tokenizer_digest,
        layout=layout.to_json(),
        layout_digest=layout.digest,
        basis=to_bytes(draw_basis(layout, seed)),
        rank=rank,
        targets=chosen,
    )
