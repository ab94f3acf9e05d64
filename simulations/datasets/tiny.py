"""A tiny causal language model of our own, trained in seconds: a base for tests and quick demos.

Its folder has the same form as a converted base. It is trained on names of diseases only, from
chapters that the demo leaves out: definitions are new to it, and so is the circulatory system.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulations.datasets.icd10 import names

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ENGLISH_CHAPTERS = ("digestive", "neoplasms", "mental")
VOCABULARY = 1024
END = "<|endoftext|>"
STEPS = 140
BATCH = 16
MAX_TOKENS = 64
LEARNING_RATE = 4e-3
SEED = 0


@dataclass(frozen=True)
class Shape:
    """The sizes of a tiny model; ``name`` is that of its folder."""

    name: str
    hidden: int
    inner: int
    layers: int


TINY = Shape("tiny", 96, 192, 2)
WIDE = Shape("wide", 128, 1024, 4)
"""Small too, but its inner projections alone have a million coordinates at rank 122."""


def tiny_base(cache: Path, shape: Shape = TINY) -> Path:
    """The base folder below ``cache``; trained if not yet there, written beside and renamed.

    The same for one machine and one version of torch. Raises ``NodeError`` ``no-data``.
    """
    out = cache / shape.name
    if out.exists():
        return out
    import torch

    texts = general_text()
    tokenizer = _train_tokenizer(texts)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order would give another base
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
            end = tokenizer.eos_token_id
            model = _train_model([[*text[: MAX_TOKENS - 1], end] for text in ids], end, shape)
    finally:
        torch.set_num_threads(threads)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    cache.mkdir(parents=True, exist_ok=True)
    try:
        model.to(dtype=torch.bfloat16).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        try:
            temporary.replace(out)
        except OSError:
            if not out.exists():  # else another process made it meanwhile, and it is the same
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def general_text() -> list[str]:
    """What the base is trained on: none of it is in the demo's corpus."""
    english = [name for chapter in ENGLISH_CHAPTERS for name in names("en", chapter)]
    return [*english, *names("es", "digestive")]


def _train_tokenizer(texts: Sequence[str]) -> Any:
    """A byte-level BPE tokenizer, which can write any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def _train_model(documents: Sequence[Sequence[int]], end: int, shape: Shape) -> PreTrainedModel:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    rng = np.random.default_rng(SEED)
    for step in range(STEPS):
        batch = [documents[i] for i in rng.choice(len(documents), BATCH, replace=False)]
        width = max(map(len, batch))
        # Padding lies behind the text, where no token of the text sees it.
        ids = torch.tensor([[*doc, *[end] * (width - len(doc))] for doc in batch])
        labels = torch.tensor([[*doc, *[-100] * (width - len(doc))] for doc in batch])
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 10, 1.05 - step / STEPS)
        model(input_ids=ids, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()
