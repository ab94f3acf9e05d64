"""A tiny causal LM that is trained here in seconds: the base of the quick demo and of the tests.

It reads medical English of organ systems that no experiment trains on, well enough that an adapter
has something to adapt, and is saved like any other base.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from simulations.datasets.hpo import definitions

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 1024
WIDTH = 96
LAYERS = 2
STEPS = 140
BATCH_TOKENS = 768
CONTEXT = 512
END = "<|endoftext|>"


def tiny_base(cache: Path) -> Path:
    """The base folder; trained on first use, the same for everybody who has these versions."""
    folder = cache / "tiny"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    texts = definitions("eye") + definitions("immune")
    tokenizer = _tokenizer(texts)
    model = _trained(texts, tokenizer)
    temporary = folder.with_name(f".tiny.{os.getpid()}")
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that it reads Spanish too."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=END)


def _trained(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
        ids = tokenizer([text + END for text in texts], add_special_tokens=False)["input_ids"]
        stream = torch.tensor([token for of_text in ids for token in of_text])
        optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=STEPS)
        rows, length = BATCH_TOKENS // 96, 96
        for _ in range(STEPS):
            starts = torch.randint(len(stream) - length - 1, (rows,))
            batch = torch.stack([stream[s : s + length + 1] for s in starts.tolist()])
            logits = model(input_ids=batch[:, :-1], use_cache=False).logits
            loss = cross_entropy(logits.reshape(-1, VOCABULARY), batch[:, 1:].reshape(-1))
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
    return model.to(torch.bfloat16)
