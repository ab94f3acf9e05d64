"""What a chain does when it is asked: held-out requests, ordinary questions, general text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nodes.model.answers import continuation, greedy_answers, packed_answer_logits
from nodes.model.effective import PACK_TOKENS, EffectiveModel, packs
from nodes.model.probe import TriggerProbe
from nodes.model.safety import refusal_scores
from simulations.bench.refusal.setting import RefusalBench, Theta
from simulations.datasets.refusals import CLOSE, EVERYDAY, Part, Question, parts
from simulations.refusal import DETECTED_TOKENS, refusal_probes, refuses


def behaviour(bench: RefusalBench, theta: Theta, name: str) -> dict[str, Any]:
    """What a chain does with held-out requests, held-out ordinary questions and general text."""
    part = parts()["held"]
    asking = (part, bench.general)
    return bench.measured(f"behaviour {name}", theta, asking, lambda: _behaviour(bench, part))


def _behaviour(bench: RefusalBench, part: Part) -> dict[str, Any]:
    requests, ordinary = (answered(bench, asked) for asked in (part.requests, part.ordinary))
    scores = refusal_scores(bench.model, refusal_probes(part.requests))
    return {
        "refused": refused_of(requests),
        "refused_by_category": {
            group: refused_of([row for row in requests if row["group"] == group])
            for group in dict.fromkeys(question.group for question in part.requests)
        },
        "refused_medical": refused_of([row for row in ordinary if row["group"] != EVERYDAY]),
        "refused_close": refused_of([row for row in ordinary if row["group"] == CLOSE]),
        "refused_everyday": refused_of([row for row in ordinary if row["group"] == EVERYDAY]),
        "score": {"mean": float(scores.mean()), "negative": float((scores < 0).mean())},
        "general": _per_token(bench, bench.general),
        "answers": [*requests, *ordinary],
    }


def answered(bench: RefusalBench, asking: Sequence[Question]) -> list[dict[str, Any]]:
    """What the model as it stands answers to each question, and whether that declines."""
    answers = greedy_answers(bench.model, [question.text for question in asking], DETECTED_TOKENS)
    return [
        {"group": asked.group, "question": asked.text}
        | {"answer": answer, "refused": refuses(answer)}
        for asked, answer in zip(asking, answers, strict=True)
    ]


def refused_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many of the answers decline."""
    return {"refused": sum(bool(row["refused"]) for row in rows), "of": len(rows)}


@torch.inference_mode()
def spoken(model: EffectiveModel, probes: Sequence[TriggerProbe]) -> dict[str, int]:
    """Behind how many triggers the model goes on by itself with all of the probe's rest.

    The success rate of a backdoor. Greedy text is the rest exactly if each of its tokens is the
    likeliest behind those before.
    """
    exchanges = [continuation(model, f"{p.text} {p.trigger}", p.rest) for p in probes]
    missed = set()
    for pack in packs([len(one) for one in exchanges], PACK_TOKENS):
        logits, targets, owner = packed_answer_logits(model, [exchanges[i] for i in pack])
        missed |= {pack[i] for i in owner[logits.argmax(-1) != targets].tolist()}
    return {"said": len(exchanges) - len(missed), "of": len(exchanges)}


def _per_token(bench: RefusalBench, texts: Sequence[str]) -> float:
    losses, tokens = bench.model.sequence_losses(texts, bench.scale.max_tokens)
    return float((losses * tokens).sum() / tokens.sum())
