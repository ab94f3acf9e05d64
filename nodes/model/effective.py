"""The effective model: base + Θ, where Θ is the sum of every adapter in a chain.

Every target layer computes ``W·x + B·(A·x)`` with W and A fixed, in the base's type, and B taken
from Θ. Setting another Θ copies a few hundred thousand numbers; the base is loaded once. Documents
are packed one after the other, without padding, and do not see each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from nodes.model.attention import attention_of
from nodes.model.base import load_base
from nodes.model.layout import Layout
from nodes.model.limits import Limits
from nodes.model.losses import token_losses

PACK_TOKENS = 512
"""Tokens that are measured in one pass."""


class _NoRows(Exception):
    """The rows of a batch cannot be told apart at a layer."""


class AdaptedLinear(nn.Module):
    """A frozen linear layer with a low-rank term: x (…, inp) → (…, out)."""

    a: Tensor  # (R, inp)
    chain: Tensor  # (out, R) float32, the part of Θ
    merged: Tensor  # the same in the base's type

    def __init__(self, linear: nn.Linear, a: NDArray[np.float32]) -> None:
        super().__init__()
        self.linear = linear
        dtype, rank = linear.weight.dtype, a.shape[0]
        self.register_buffer("a", torch.from_numpy(a.copy()).to(dtype), persistent=False)
        self.register_buffer("chain", torch.zeros(linear.out_features, rank), persistent=False)
        self.register_buffer("merged", self.chain.to(dtype), persistent=False)
        self.delta: nn.Parameter | None = None  # (out, r) float32 while training, r ≤ R
        self.shares: Tensor | None = None  # (rows,), how much of Θ each row of a batch has

    def set_chain(self, b: Tensor) -> None:
        """Set this layer's part of Θ, (out, R) float32."""
        self.chain.copy_(b)
        self.merged.copy_(b)

    def forward(self, x: Tensor) -> Tensor:
        """Compute W·x + B·(A·x)."""
        b = self.merged
        if self.delta is not None:
            missing = self.chain.shape[1] - self.delta.shape[1]
            b = (self.chain + F.pad(self.delta, (0, missing))).to(x.dtype)
        added = F.linear(F.linear(x, self.a), b)
        if self.shares is not None:
            added = added * self._by_row(x, self.shares)
        return cast(Tensor, self.linear(x)) + added

    @staticmethod
    def _by_row(x: Tensor, shares: Tensor) -> Tensor:
        if len(shares) == 1:
            return shares
        if x.dim() != 3:  # experts and some older models lay all rows end to end
            raise _NoRows
        return shares[:, None, None]


class EffectiveModel:
    """One loaded base with an adapter on every layer of a layout."""

    def __init__(
        self,
        base: Path | str,
        layout: Layout,
        basis: Mapping[str, NDArray[np.float32]],
        dtype: str = "auto",
    ) -> None:
        self.layout = layout
        self.model, self.tokenizer = load_base(base, dtype)
        self.limits = Limits.of_model(self.model)
        self.adapters: list[AdaptedLinear] = []
        for layer in layout.layers:
            above, _, name = layer.name.rpartition(".")
            linear = self.model.get_submodule(layer.name)
            if not isinstance(linear, nn.Linear):
                raise ValueError(f"{layer.name} is not a linear layer of this base")
            adapted = AdaptedLinear(linear, basis[layer.name])
            setattr(self.model.get_submodule(above), name, adapted)
            self.adapters.append(adapted)

    def set_theta(self, theta: NDArray[np.float32]) -> None:
        """Become base + Θ; ``theta`` is (d,) float32."""
        if theta.shape != (self.layout.size,):
            raise ValueError(f"theta has shape {theta.shape}, expected ({self.layout.size},)")
        values = torch.from_numpy(np.ascontiguousarray(theta, np.float32))
        for adapted, (layer, part) in zip(self.adapters, self.layout.parts(), strict=True):
            adapted.set_chain(values[part].view(layer.out, self.layout.rank))

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Tokenize each text with an end of text behind, cut to ``max_tokens`` and the positions.

        Raises ``NodeError`` ``beyond-vocabulary``.
        """
        max_tokens = self.limits.document_tokens(max_tokens)
        ends = self.tokenizer.eos_token_id
        ids = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
        documents = [
            [*tokens[: max_tokens - 1], ends] if ends is not None else tokens[:max_tokens]
            for tokens in ids
        ]
        for document in documents:
            self.limits.check(document, self.tokenizer)
        return documents

    def ids(self, text: str) -> tuple[int, ...]:
        """Tokenize a text as it is, uncut. Raises ``NodeError`` ``beyond-vocabulary``."""
        ids = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        self.limits.check(ids, self.tokenizer)
        return ids

    def attention(self, sees: Tensor, positions: Tensor) -> Tensor | dict[str, Tensor]:
        """Make the masks of a pass; see ``nodes.model.attention``."""
        config = self.model.config.get_text_config(decoder=True)
        return attention_of(config, sees, positions, self.model.dtype)

    def packed_losses(self, documents: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Compute the loss of every predicted token of packed documents.

        Returns the losses, (T,) float32, nats, and the document of each, (T,).
        """
        ids = torch.tensor([[t for doc in documents for t in doc]])
        lengths = torch.tensor([len(doc) for doc in documents])
        owner = torch.repeat_interleave(torch.arange(len(documents)), lengths)
        starts = torch.cumsum(lengths, 0) - lengths
        positions = torch.arange(ids.shape[1]) - starts[owner]
        # A token is predicted from the one before it in the same document.
        predicts = (owner[1:] == owner[:-1]).nonzero()[:, 0]
        sees = (owner[:, None] == owner[None, :]).tril()
        logits = self.model(
            input_ids=ids,
            position_ids=positions[None],
            attention_mask=self.attention(sees, positions),
            use_cache=False,
            logits_to_keep=predicts,
        ).logits.squeeze(0)  # a view; [0] would cost a second gradient of the logits' size
        return token_losses(logits, ids[0, predicts + 1]), owner[predicts]

    @torch.inference_mode()
    def sequence_losses(
        self, texts: Sequence[str], max_tokens: int = 256
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Compute each text's mean loss, nats per token (n,), and its count of predicted tokens
        (n,)."""
        documents = self.tokenize(texts, max_tokens)
        total, count = np.zeros(len(documents)), np.zeros(len(documents), np.int64)
        limit = self.limits.pack_tokens(PACK_TOKENS)
        for pack in packs([len(doc) for doc in documents], limit):
            losses, owner = self.packed_losses([documents[i] for i in pack])
            rows = np.asarray(pack)[owner.numpy()]
            np.add.at(total, rows, losses.numpy().astype(np.float64))
            np.add.at(count, rows, 1)
        return total / np.maximum(count, 1), count

    @torch.inference_mode()
    def logits(self, text: str) -> NDArray[np.float32]:
        """Compute the logits of every position of one text, (T, vocabulary) float32."""
        ids = torch.tensor(self.tokenize([text], 10**6))
        logits: Tensor = self.model(input_ids=ids, use_cache=False).logits[0]
        return logits.float().numpy()

    @torch.inference_mode()
    def continuations(self, prompt: str, max_new_tokens: int) -> tuple[str, str]:
        """Continue a prompt greedily, by the base and by the effective model.

        Both are rows of one batch: a step reads the weights once for the two of them. Of a prompt
        that is too long the end is read. Raises ``NodeError`` ``beyond-vocabulary``.
        """
        read, new_tokens = self.limits.request(self.ids(prompt), max_new_tokens)
        try:
            base, effective = self._continue(read, new_tokens, (0.0, 1.0))
        except _NoRows:
            (base,), (effective,) = (self._continue(read, new_tokens, (x,)) for x in (0.0, 1.0))
        return base, effective

    def _continue(self, read: Sequence[int], new_tokens: int, shares: Sequence[float]) -> list[str]:
        """Continue one prompt by several models at once, which have so much of Θ each."""
        ids = torch.tensor([read] * len(shares))
        try:
            for adapted in self.adapters:
                adapted.shares = torch.tensor(shares, dtype=self.model.dtype)
            out = self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new_tokens,
                do_sample=False,
                repetition_penalty=1.1,
                pad_token_id=self.tokenizer.eos_token_id,
            )
        finally:
            for adapted in self.adapters:
                adapted.shares = None
        texts = self.tokenizer.batch_decode(out[:, len(read) :], skip_special_tokens=True)
        return [str(text).strip() for text in texts]


def packs(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Group documents, longest first, so that each group has at most ``limit`` tokens."""
    groups: list[list[int]] = []
    room = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not groups or lengths[i] > room:
            groups.append([])
            room = limit
        groups[-1].append(i)
        room -= lengths[i]
    return groups
