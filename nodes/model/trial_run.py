"""Try a base before a network is made on it: run it once, as nodes will run it.

A network assumes of its base that documents which lie in one pass do not see each other, that
prompts can share what they begin with, and that training moves the loss. Architectures with
convolutions or recurrences mix what lies side by side, and some take no positions at all. What is
wrong is found here in seconds, and not at the first gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from nodes.errors import NodeError
from nodes.model.answers import Exchange, answer_losses
from nodes.model.base import chosen_dtype, outline_base
from nodes.model.basis import draw_basis
from nodes.model.coordinates import DEFAULT_TARGETS
from nodes.model.digest import describe_base
from nodes.model.effective import PACK_TOKENS, EffectiveModel
from nodes.model.layout import Layout
from nodes.model.learner import TrainingRun, train
from nodes.model.limits import Limits
from nodes.model.memory import foretell, gigabytes, require_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = 1e-4
"""Nats that a document's mean loss in a pack may differ from the one that it has alone."""

ROUNDED = 0.02
"""The same where a base is so large that it is tried in bfloat16, whose rounding differs too."""

LONGEST_WINDOW = 1024
"""Windows up to this are tried with a document that is longer; longer ones cost too much time."""

_SENTENCES = (
    "A banyan sends roots down from its branches and becomes one tree with many trunks.",
    "What each of them has learned flows down to whoever needs it.",
    "It grows back up from whoever learned something.",
)


@dataclass(frozen=True)
class Trial:
    """What a trial found: a base that a network can be made on.

    Attributes:
        architecture: as the configuration names it.
        positions: tokens of the longest document; None where nothing bounds them.
        vocabulary: tokens that the base has an embedding for.
        beyond: tokens of the tokenizer that it has none for; texts with them are refused.
        targets: for each name how many layers an adapter covers.
        memory_needed, memory_free: bytes; needed is an estimate.
        dtype, tried: the type that a node of this machine computes in, that of the trial.
        difference: nats, the largest difference of a packed loss.
    """

    architecture: str
    parameters: int
    positions: int | None
    vocabulary: int
    beyond: int
    targets: dict[str, int]
    memory_needed: int
    memory_free: int
    dtype: str
    tried: str
    difference: float

    def as_json(self) -> dict[str, Any]:
        """Return every field by its name."""
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        """Say what was found: a word and a sentence each."""
        positions = "not bounded" if self.positions is None else f"{self.positions:,}"
        beyond = f"; {self.beyond} of the tokenizer's are not among them" if self.beyond else ""
        targets = ", ".join(f"{name} ({count})" for name, count in self.targets.items())
        return [
            ("model", f"{self.architecture}, {self.parameters:,} parameters"),
            ("positions", f"{positions}; longer texts are cut"),
            ("vocabulary", f"{self.vocabulary:,} tokens{beyond}"),
            ("targets", targets),
            (
                "memory",
                f"about {gigabytes(self.memory_needed)} needed in {self.dtype}, "
                f"{gigabytes(self.memory_free)} free",
            ),
            (
                "packing",
                f"as one document at a time: losses differ by at most {self.difference:.0e} nats "
                f"in {self.tried}",
            ),
        ]


def try_base(
    folder: Path, *, rank: int, targets: Sequence[str] | None = None, dtype: str = "auto"
) -> Trial:
    """Run a base once, with adapters of rank ``rank`` on ``targets``.

    In float32, because rounding in bfloat16 hides a difference; in ``dtype`` where float32 does not
    fit into memory, which is then said.

    Raises ``NodeError``: ``no-base``, ``bad-base``; what ``Layout.of_model`` refuses;
    ``not-enough-memory`` before anything is loaded; ``unsuitable-base`` with the reason.
    """
    info = describe_base(folder)
    outline = outline_base(folder)
    layout = _layout(folder, outline, targets or DEFAULT_TARGETS, rank)
    require_memory(info.parameters, dtype)
    memory, exact = foretell(outline, dtype), foretell(outline, "float32")
    tried = "float32" if exact.weights <= exact.free else dtype
    model = EffectiveModel(folder, layout, draw_basis(layout, 0), tried)
    tolerance = TOLERANCE if model.model.dtype == torch.float32 else ROUNDED
    beyond = _beyond(model, folder)
    try:
        difference = _difference(model)
        finite = np.isfinite(difference) and _learns(model)
        model.continuations(_SENTENCES[0], 2)
    except NodeError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        why = f"it cannot be run packed ({lines[0][:120]})"
        raise _unsuitable(folder, model.model, why) from None
    if not finite:
        raise _unsuitable(folder, model.model, "its losses or gradients are not finite numbers")
    if difference > tolerance:
        why = (
            f"a document's loss differs by {difference:.2g} nats when others lie beside it, and "
            f"at most {tolerance:g} are allowed"
        )
        raise _unsuitable(folder, model.model, why)
    names = [layer.name.rpartition(".")[2] for layer in layout.layers]
    return Trial(
        architecture=str(model.model.config.model_type),
        parameters=info.parameters,
        positions=model.limits.positions,
        vocabulary=model.limits.vocabulary,
        beyond=beyond,
        targets={name: names.count(name) for name in dict.fromkeys(names)},
        memory_needed=memory.needed,
        memory_free=memory.free,
        dtype=_name(chosen_dtype(dtype)),
        tried=_name(model.model.dtype),
        difference=difference,
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _layout(folder: Path, outline: PreTrainedModel, targets: Sequence[str], rank: int) -> Layout:
    """Select the layers; a base of a kind that will not do is refused for that, whatever its
    layers are called."""
    try:
        return Layout.of_model(outline, targets, rank)
    except NodeError:
        if _known_reason(outline):
            raise _unsuitable(folder, outline, "its documents would see each other") from None
        raise


def _beyond(model: EffectiveModel, folder: Path) -> int:
    """Count the tokens without an embedding: added ones only, or the tokenizer is another's."""
    added = model.tokenizer.get_added_vocab()
    beyond = [
        token
        for token, number in model.tokenizer.get_vocab().items()
        if number >= model.limits.vocabulary
    ]
    if foreign := [token for token in beyond if token not in added]:
        raise NodeError(
            "unsuitable-base",
            f"The base in {folder} cannot be used: {len(foreign)} tokens of its tokenizer, such as "
            f"{foreign[0]!r}, have no embedding, so the tokenizer is that of another base.",
        )
    return len(beyond)


@torch.inference_mode()
def _difference(model: EffectiveModel) -> float:
    """Compute the largest difference in mean loss between packs and single documents, nats."""
    limits, rng = model.limits, np.random.default_rng(0)
    if len(model.ids(" ".join(_SENTENCES))) < len(_SENTENCES):
        raise ValueError("its tokenizer makes no tokens of plain text")
    numbers = sorted(
        set(model.tokenizer.get_vocab().values()) - set(model.tokenizer.all_special_ids)
    )
    known = [number for number in numbers if number < limits.vocabulary]

    def draw(length: int) -> list[int]:
        return [known[i] for i in rng.integers(len(known), size=length)]

    differences = []
    for lengths in _packs(model):
        documents = [draw(length) for length in lengths]
        losses, owner = model.packed_losses(documents)
        for i, ids in enumerate(documents):
            packed = losses[owner == i].mean()
            differences.append(packed - _alone(model, ids).mean())
    exchanges = _exchanges(limits, draw)
    packed_answers = answer_losses(model, exchanges)
    for pair, mean in zip(exchanges, packed_answers, strict=True):
        alone = _alone(model, [*pair.prompt, *pair.answer])[-len(pair.answer) :].mean()
        differences.append(alone - float(mean))
    # A NaN is larger than any number to ``max`` of a tensor, as it should be.
    return float(torch.stack(differences).abs().max())


def _packs(model: EffectiveModel) -> list[list[int]]:
    """The lengths of documents that are packed: in one as a node does, and past a window."""
    limits = model.limits
    room = limits.pack_tokens(PACK_TOKENS)
    packs = [[max(2, limits.document_tokens(room // part)) for part in (2, 4, 8, 16)]]
    window = getattr(model.model.config.get_text_config(decoder=True), "sliding_window", None)
    if window and room // 2 <= window <= LONGEST_WINDOW:
        packs.append([max(2, room // 16), limits.document_tokens(window + window // 2)])
    return packs


def _exchanges(limits: Limits, draw: Any) -> list[Exchange]:
    """Two prompts that share most of what they have, and two answers to each."""
    room = limits.pack_tokens(PACK_TOKENS) // 4
    shared = draw(max(1, room // 2))
    prompts = [shared + draw(max(1, room // 8)) for _ in range(2)]
    return [
        Exchange(*limits.exchange(prompt, draw(max(1, room // 8))))
        for prompt in prompts
        for _ in range(2)
    ]


def _alone(model: EffectiveModel, ids: Sequence[int]) -> Tensor:
    """Compute the losses of one document as the library does by itself, (T − 1,) nats."""
    tokens = torch.tensor([ids])
    logits = model.model(input_ids=tokens, use_cache=False).logits[0, :-1].float()
    return F.cross_entropy(logits, tokens[0, 1:], reduction="none")


def _learns(model: EffectiveModel) -> bool:
    """Tell whether two steps of training give finite numbers."""
    run = TrainingRun(steps=2, batch_size=2, max_tokens=32, rank=model.layout.rank)
    learned = train(model, np.zeros(model.layout.size, np.float32), _SENTENCES, run)
    return bool(np.isfinite(learned.delta).all() and np.isfinite(learned.losses).all())


def _unsuitable(folder: Path, model: PreTrainedModel, what: str) -> NodeError:
    known = _known_reason(model)
    reason = f": {known}" if known else ""
    return NodeError(
        "unsuitable-base",
        f"The base in {folder} cannot be used: {what}{reason}. Choose one that attends by "
        "positions, such as a Llama, Mistral, Qwen, Gemma, OPT or SmolLM.",
    )


def _known_reason(model: PreTrainedModel) -> str | None:
    """Say what of an architecture is known to mix documents; None for what is not known."""
    config = model.config.get_text_config(decoder=True)
    kind = config.model_type
    classes = {type(module).__name__.lower() for module in model.modules()}
    if getattr(config, "alibi", False) or kind in ("bloom", "mpt"):
        return f"{kind} weighs tokens by their distance in the pass (ALiBi)"
    for word in ("mamba", "rwkv", "recurrent", "linearattention", "deltanet", "ssm"):
        if any(word in name for name in classes):
            return f"{kind} has recurrent layers, whose state runs from one document to the next"
    if any(isinstance(module, torch.nn.Conv1d) for module in model.modules()):
        return f"{kind} has convolutions, which reach from one document into the next"
    return None
