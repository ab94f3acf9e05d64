"""Load a base: a folder with safetensors and a tokenizer (``nodes.model.digest`` names it).

Only what the digests cover is read (``nodes.model.base_files``), and code that comes with a base
never runs. A GGUF file is converted once, dequantised, because converted files differ between
library versions; from then on the folder is the artefact.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodes.errors import NodeError
from nodes.model.base_files import alone, base_files
from nodes.model.digest import BaseInfo, describe_base

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def native_dtype() -> torch.dtype:
    """Return bfloat16 where the processor multiplies it natively, else float32.

    Without such instructions a bf16 product is emulated: measured on an AVX2 processor, 7 times
    slower forward and 70 times backward than float32.
    """
    import torch

    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def load_base(
    source: Path | str, dtype: str = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a base, frozen, for inference; a folder or a hub id.

    Args:
        dtype: ``bfloat16``, ``float32``, or ``auto``: what this processor computes fastest. In
            bfloat16 the weights are mapped from the file, so several processes share them.

    Raises ``NodeError``: ``no-base``, ``bad-base`` where a file is damaged or lacks a tensor,
    ``unsuitable-base`` for an architecture that the library does not know, ``not-enough-memory``.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _source(source) as place:
        config = _configuration(place, source)
        with _readable("tokenizer", source):
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        with _readable("model", source):
            model, report = AutoModelForCausalLM.from_pretrained(
                place,
                config=config,
                dtype=chosen_dtype(dtype),
                trust_remote_code=False,
                output_loading_info=True,
            )
    if missing := sorted(report["missing_keys"]):
        # The library would draw them at random: each node would have another model.
        raise NodeError(
            "bad-base",
            f"The base in {source} lacks {len(missing)} of its tensors, such as {missing[0]}. "
            "Fetch the base again.",
        )
    model.name_or_path = tokenizer.name_or_path = str(source)  # not the links to its files
    model.requires_grad_(False)
    model.eval()
    return model, tokenizer


def outline_base(folder: Path) -> PreTrainedModel:
    """Build the model of a base without its values: names, shapes and what is tied to what.

    Takes no memory and reads no tensor. Raises ``NodeError`` as ``load_base``.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with _source(folder) as place:
        config = _configuration(place, folder)
        with _readable("model", folder), torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, trust_remote_code=False
            )
    return model


def chosen_dtype(dtype: str = "auto") -> torch.dtype:
    """Return the type that ``load_base`` gives the weights for this name."""
    import torch

    chosen: torch.dtype = native_dtype() if dtype == "auto" else getattr(torch, dtype)
    return chosen


@contextmanager
def _source(source: Path | str) -> Iterator[str]:
    """Yield what the library is to load: a folder of the base's own files, or a hub id."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what matters of its warnings is raised as an error here
    try:
        if isinstance(source, str) and not Path(source).is_dir():
            yield source
        else:
            with alone(base_files(Path(source))) as folder:
                yield str(folder)
    finally:
        logging.set_verbosity(verbosity)


def _configuration(place: str, source: Path | str) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
    except Exception as error:
        raise _unsuitable(
            source, f"its config.json cannot be used ({_first_line(error)})"
        ) from None
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise _unsuitable(source, f"{config.model_type} is no causal language model")
    if getattr(config, "quantization_config", None) is not None:
        raise _unsuitable(source, "its weights are quantised: use the bfloat16 or float32 form")
    return config


@contextmanager
def _readable(part: str, source: Path | str) -> Iterator[None]:
    """Turn what a library raises about a file into one sentence; it raises anything."""
    try:
        yield
    except NodeError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):  # torch's own kind
            raise NodeError(
                "not-enough-memory",
                f"There is not enough memory to load the {part} in {source}: choose a smaller "
                "base, end other programs, or take a machine with more memory.",
            ) from None
        raise NodeError(
            "bad-base", f"The {part} in {source} cannot be loaded: {_first_line(error)}"
        ) from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[0][:160].rstrip('.')}."


def _unsuitable(source: Path | str, why: str) -> NodeError:
    return NodeError("unsuitable-base", f"The base in {source} cannot be used: {why}.")


def convert_gguf(gguf: Path, out: Path) -> BaseInfo:
    """Convert a GGUF file into a base folder, dequantised to bf16; does nothing when it is there.

    Written beside and renamed, so that ``out`` is whole or absent.
    Raises ``NodeError`` ``no-base`` when there is no such file.
    """
    if out.exists():
        return describe_base(out)
    if not gguf.exists():
        raise NodeError("no-base", f"There is no GGUF file at {gguf}.")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )
        model.to(torch.bfloat16).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return describe_base(out)
