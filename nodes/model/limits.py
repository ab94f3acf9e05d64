"""The limits of a base, read from it: how long a document may be, which tokens it knows.

Texts are cut to these where they become tokens, so that no text can end a computation. Knows no
torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nodes.errors import NodeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "max_target_positions",
    "n_ctx",
    "seq_length",
)
"""What architectures call the most tokens of one document, the commonest first."""


@dataclass(frozen=True)
class Limits:
    """How much a base can take.

    Attributes:
        positions: tokens of one document; None where nothing bounds them.
        vocabulary: rows of the embedding; a token's number is below it.
        pack: tokens of several documents in one pass; None where nothing bounds them.
    """

    positions: int | None
    vocabulary: int
    pack: int | None

    @classmethod
    def of_model(cls, model: PreTrainedModel) -> Limits:
        """Read the limits from a model and its configuration."""
        config = model.config.get_text_config(decoder=True)
        positions = next(
            (value for name in _POSITIONS if (value := _positive(config, name)) is not None), None
        )
        # Some architectures look masks up by the place in the pass: the causal one reaches as far
        # as the positions do, and GPT-Neo's local layers count their window in it.
        bounds = [b for b in (positions, _positive(config, "window_size")) if b is not None]
        vocabulary = model.get_input_embeddings().weight.shape[0]
        return cls(positions, int(vocabulary), min(bounds, default=None))

    def document_tokens(self, wanted: int) -> int:
        """Return how many of ``wanted`` tokens one document may have."""
        return wanted if self.positions is None else min(wanted, self.positions)

    def pack_tokens(self, wanted: int) -> int:
        """Return how many of ``wanted`` tokens several documents may have together."""
        return wanted if self.pack is None else min(wanted, self.pack)

    def exchange(
        self, prompt: Sequence[int], answer: Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Cut a prompt and its answer to the positions.

        The prompt keeps its end, where the request is; the answer keeps its beginning, and at least
        half of the room.
        """
        prompt, answer = tuple(prompt), tuple(answer)
        if self.positions is None:
            return prompt, answer
        room = self.positions + 1  # the answer's last token is predicted and not read
        answer = answer[: max(room - len(prompt), room // 2)]
        return prompt[-(room - len(answer)) :], answer

    def request(self, prompt: Sequence[int], new_tokens: int) -> tuple[tuple[int, ...], int]:
        """Cut a prompt, and the number of tokens that are to follow it, to the positions."""
        if self.positions is None:
            return tuple(prompt), new_tokens
        new_tokens = min(new_tokens, max(self.positions - len(prompt), self.positions // 2))
        return tuple(prompt[-(self.positions - new_tokens) :]), new_tokens

    def check(self, ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> None:
        """Refuse tokens without an embedding. Raises ``NodeError`` ``beyond-vocabulary``."""
        highest = max(ids, default=0)
        if highest >= self.vocabulary:
            token = tokenizer.convert_ids_to_tokens(highest)
            raise NodeError(
                "beyond-vocabulary",
                f"A text has the token {token!r}, number {highest}, and the base has embeddings "
                f"for the first {self.vocabulary} tokens only: take it out of the text.",
            )


def _positive(config: Any, name: str) -> int | None:
    value = getattr(config, name, None)
    return value if isinstance(value, int) and value > 0 else None
