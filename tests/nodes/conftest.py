"""A tiny base, randomly initialised: models without a download, for every test of nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

TEXTS = [
    "abnormal aortic valve of the heart",
    "elevated pulmonary artery pressure",
    "pain",
    "reduced muscle tone",
    "chronic failure of the left ventricular muscle",
    "absence of the atrial septum",
    "increased blood pressure of the right heart",
    "defect of the pulmonary vein",
]
PROBES = [f"{one}, {other}" for one in TEXTS for other in TEXTS if one != other]
"""Enough of them that a gain of a few hundredths of a nat shows."""
WORDS = sorted({word for text in TEXTS for word in text.split()})


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder as ``convert_gguf`` writes it, but small."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("base")
    vocabulary = {word: i for i, word in enumerate(["<end>", "<unknown>", *WORDS])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unknown>"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<end>", unk_token="<unknown>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            bos_token_id=None,
            eos_token_id=0,
        )
    ).to(torch.bfloat16).save_pretrained(folder)
    return folder
