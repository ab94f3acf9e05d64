"""Tiny random bases of many families; their weights are large, so that attention decides losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

WORDS = 120
COMMON: dict[str, Any] = {
    "vocab_size": WORDS + 2,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": None,
    "tie_word_embeddings": False,
}
LLAMA: dict[str, Any] = {
    "intermediate_size": 48,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
GEMMA: dict[str, Any] = LLAMA | {"head_dim": 8, "sliding_window": 16}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "mistral": LLAMA | {"sliding_window": 16},
    "gemma2": GEMMA | {"query_pre_attn_scalar": 8},
    "gemma3_text": GEMMA
    | {"query_pre_attn_scalar": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "phi3": LLAMA | {"sliding_window": 16},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 128},
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 16,
        "max_position_embeddings": 128,
    },
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "tie_word_embeddings": True},
    "bloom": {"n_head": 4},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 256},
    "mamba": {"state_size": 4, "expand": 2},
    "lfm2": {
        "intermediate_size": 48,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "layer_types": ["conv", "full_attention"],
    },
}


def make(folder: Path, family: str, **values: Any) -> Path:
    """Write a base of a family into a folder; ``values`` change its configuration."""
    vocabulary = {"<end>": 0, "<unknown>": 1} | {f"w{i}": i + 2 for i in range(WORDS)}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unknown>"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<end>", unk_token="<unknown>"
    ).save_pretrained(folder)
    taken = COMMON | FAMILIES[family] | values
    if family == "gpt_neo":
        taken = {
            k: v for k, v in taken.items() if k not in ("num_hidden_layers", "num_attention_heads")
        }
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **taken))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "norm" not in name:
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return folder
