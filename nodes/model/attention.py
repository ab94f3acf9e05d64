"""The masks of a pass in which several documents lie one after the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def attention_of(
    config: Any, sees: Tensor, positions: Tensor, dtype: torch.dtype
) -> Tensor | dict[str, Tensor]:
    """Make the attention masks of one pass, in the form that the model's layers want.

    Layers with a sliding window see as far back as the window in their own document, wherever the
    document lies in the pass. The model would put its own window on a plain mask only, and takes
    one that is given as it is.

    Args:
        config: the configuration of the text model.
        sees: (T, T) bool, whether a row's token may see a column's.
        positions: (T,) of each token in its document.
        dtype: of the scores.
    """
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    full = _scores(sees, dtype)
    if not window or (kinds and "sliding_attention" not in kinds):
        return full
    near = _scores(sees & (positions[:, None] - positions[None, :] < window), dtype)
    return {"full_attention": full, "sliding_attention": near} if kinds else near


def _scores(sees: Tensor, dtype: torch.dtype) -> Tensor:
    """(1, 1, T, T): nothing is added where a token is seen, the lowest number where not."""
    mask = torch.zeros(sees.shape, dtype=dtype)
    return mask.masked_fill_(~sees, torch.finfo(dtype).min)[None, None]
