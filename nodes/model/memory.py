"""The memory that a base needs, foretold from its size before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodes.errors import NodeError
from nodes.machine.system_memory import free_bytes
from nodes.model.base import chosen_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PASS_TOKENS = 512
"""Tokens of the pass whose memory is foretold: a measurement's, or a step of training."""

_LIBRARIES = 300_000_000
"""Bytes that torch and transformers take before a model is loaded."""


@dataclass(frozen=True)
class Memory:
    """Bytes: of the weights in the type that is computed in, of a pass, and free at present."""

    weights: int
    working: int
    free: int

    @property
    def needed(self) -> int:
        """The bytes of everything."""
        return self.weights + self.working + _LIBRARIES


def foretell(model: PreTrainedModel, dtype: str = "auto") -> Memory:
    """Estimate what loading and training a base takes; ``model`` may be an outline."""
    size = chosen_dtype(dtype).itemsize
    config = model.config.get_text_config(decoder=True)
    weights = size * sum(parameter.numel() for parameter in model.parameters())
    vocabulary = model.get_input_embeddings().weight.shape[0]
    # For the backward pass a layer keeps about 16 vectors of the hidden size of each token, and the
    # logits are there twice. Measured on SmolLM2-135M, a step of 508 tokens: 771 MB in float32, 758
    # in bfloat16, where much is in float32 too.
    token = 16 * config.num_hidden_layers * config.hidden_size + 2 * vocabulary
    return Memory(weights, PASS_TOKENS * 4 * token, free_bytes())


def require_memory(parameters: int, dtype: str = "auto") -> None:
    """Refuse to load what clearly cannot be: raises ``NodeError`` ``not-enough-memory`` when the
    weights alone are more than is free."""
    weights, free = parameters * chosen_dtype(dtype).itemsize, free_bytes()
    if weights > free:
        raise NodeError(
            "not-enough-memory",
            f"The base needs {gigabytes(weights)} for its weights alone, and {gigabytes(free)} "
            "are free on this machine: choose a smaller base, end other programs, or take a "
            "machine with more memory.",
        )


def gigabytes(count: int) -> str:
    """Write bytes for a person: ``1.2 GB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
