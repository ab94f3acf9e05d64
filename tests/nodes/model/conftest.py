"""A tiny base, randomly initialised: the learning paths without a download."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.model.basis import draw_basis
from nodes.model.effective import EffectiveModel
from nodes.model.layout import Layout

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
WORDS = sorted({word for text in TEXTS for word in text.split()})
TARGETS = ("q_proj", "v_proj")


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


@pytest.fixture
def model(base: Path) -> EffectiveModel:
    """The tiny base with adapters of rank 8, in float32."""
    return load(base)


def load(base: Path, rank: int = 8, seed: int = 0) -> EffectiveModel:
    """An effective model on a base folder, in float32 whatever this machine would choose."""
    import torch

    from nodes.model.base import load_base

    layout = Layout.of_model(load_base(base)[0], TARGETS, rank)
    basis = draw_basis(layout, seed)
    model = EffectiveModel(base, layout, basis)
    model.model.float()
    for adapted, layer in zip(model.adapters, layout.layers, strict=True):
        adapted.a.copy_(torch.from_numpy(basis[layer.name]))  # was rounded to the base's type
    return model
