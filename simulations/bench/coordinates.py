"""Which coordinates learn best and average best: B with a fixed orthonormal A, or LoRA.

All ways share one training loop, one packing, one seed and the same documents; only what is trained
differs. The learning rate of each way is tuned on a validation part of the first source; while the
best is at an end of the grid, the grid goes on. Reported is the loss on a held-out part that
neither training nor tuning saw, per predicted token. Every cell is one line of a JSON-lines file: a
run that was interrupted goes on where it stopped. Knows neither networks nor nodes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from nodes.model.basis import draw_basis
from nodes.model.effective import EffectiveModel
from nodes.model.layout import Layout

QV = ("q_proj", "v_proj")
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Way:
    """What is trained: only B on a fixed A, or both (LoRA), at a rank on some layers."""

    name: str
    lora: bool
    rank: int
    targets: tuple[str, ...]


GROUPS = (
    (
        Way("LoRA r=8, q v", True, 8, QV),
        Way("B-only R=16, q v", False, 16, QV),
        Way("B-only R=3, all linear", False, 3, ALL),
    ),
    (
        Way("LoRA r=8, all linear", True, 8, ALL),
        Way("B-only R=16, all linear", False, 16, ALL),
    ),
    (
        Way("LoRA r=16, q v", True, 16, QV),
        Way("B-only R=32, q v", False, 32, QV),
    ),
    (
        Way("LoRA r=16, all linear", True, 16, ALL),
        Way("B-only R=32, all linear", False, 32, ALL),
    ),
)
"""The ways of a group train about as many parameters; the others are held to its first."""
WAYS = tuple(way for group in GROUPS for way in group)
WIDENINGS = 2
"""How often the grid of learning rates may be made longer at one of its ends."""


@dataclass(frozen=True)
class Scale:
    """How large the experiment is; counts are documents, ``max_tokens`` is per document."""

    train: int = 128
    validation: int = 32
    held_out: int = 32
    steps: int = 16
    batch: int = 4
    max_tokens: int = 64
    rates: tuple[float, ...] = (2e-3, 6e-3, 2e-2)
    seed: int = 0


@dataclass(frozen=True)
class Factors:
    """An adapter: for each layer A (R, inp) and B (out, R), float32, scale included in B."""

    a: tuple[Tensor, ...]
    b: tuple[Tensor, ...]


class _LowRank(nn.Module):
    """A frozen linear layer plus B·A·x."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.a: Tensor | None = None
        self.b: Tensor | None = None
        self.scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """W·x + scale·B·(A·x), or W·x while there is no adapter."""
        y = cast(Tensor, self.linear(x))
        if self.a is None or self.b is None:
            return y
        return y + F.linear(F.linear(x, self.a), self.b) * self.scale


class _Bench:
    """The base with a place for an adapter on every linear layer."""

    def __init__(self, base: Path, scale: Scale) -> None:
        self.scale = scale
        self.effective = EffectiveModel(base, Layout((), 1), {})
        model = self.effective.model
        # One layout per way; the order of layers is the model's.
        self.layouts = {way: Layout.of_model(model, way.targets, way.rank) for way in WAYS}
        self.places: dict[str, _LowRank] = {}
        for layer in Layout.of_model(model, ALL, 1).layers:
            above, _, name = layer.name.rpartition(".")
            place = _LowRank(cast(nn.Linear, model.get_submodule(layer.name)))
            setattr(model.get_submodule(above), name, place)
            self.places[layer.name] = place

    def put(self, way: Way, a: Sequence[Tensor], b: Sequence[Tensor], scale: float) -> None:
        """Make an adapter the one in force."""
        for place in self.places.values():
            place.a = place.b = None
        for layer, ai, bi in zip(self.layouts[way].layers, a, b, strict=True):
            place = self.places[layer.name]
            place.a, place.b, place.scale = ai, bi, scale

    def train(self, way: Way, texts: Sequence[str], rate: float) -> tuple[Factors, float]:
        """Train from nothing; the adapter and the loss of the last quarter of the steps."""
        settings, layout = self.scale, self.layouts[way]
        generator = torch.Generator().manual_seed(settings.seed)
        # As PEFT starts LoRA: A uniform within ±1/√inp, B zero, alpha = 2r.
        scale = 2.0 if way.lora else 1.0
        if way.lora:
            a = [
                (torch.rand(way.rank, layer.inp, generator=generator) * 2 - 1)
                .div_(math.sqrt(layer.inp))
                .requires_grad_()
                for layer in layout.layers
            ]
        else:
            basis = draw_basis(layout, settings.seed)
            a = [torch.from_numpy(basis[layer.name]) for layer in layout.layers]
        b = [torch.zeros(layer.out, way.rank, requires_grad=True) for layer in layout.layers]
        self.put(way, a, b, scale)
        trained = [p for p in (*a, *b) if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, rate, weight_decay=0.0)
        documents = self.effective.tokenize(texts, settings.max_tokens)
        order = np.random.default_rng(settings.seed)
        queue: list[int] = []
        losses = []
        for step in range(settings.steps):
            rising = min(1.0, (step + 1) / max(1.0, 0.1 * settings.steps))
            optimizer.param_groups[0]["lr"] = rate * rising * (1 - 0.9 * step / settings.steps)
            while len(queue) < settings.batch:
                queue += order.permutation(len(documents)).tolist()
            batch, queue = queue[: settings.batch], queue[settings.batch :]
            of_tokens, _ = self.effective.packed_losses([documents[i] for i in batch])
            loss = of_tokens.mean()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
        learned = Factors(
            tuple(p.detach().clone() for p in a), tuple(p.detach() * scale for p in b)
        )
        return learned, float(np.mean(losses[-max(1, settings.steps // 4) :]))

    def measure(self, way: Way, factors: Factors | None, texts: Sequence[str]) -> dict[str, Any]:
        """Loss per token over ``texts``, with every text's own loss and token count."""
        if factors is None:
            for place in self.places.values():
                place.a = place.b = None
        else:
            self.put(way, factors.a, factors.b, 1.0)
        losses, tokens = self.effective.sequence_losses(texts, self.scale.max_tokens)
        return {
            "loss": float((losses * tokens).sum() / tokens.sum()),
            "losses": [round(float(x), 5) for x in losses],
            "tokens": tokens.tolist(),
        }


def average_separately(one: Factors, two: Factors) -> Factors:
    """The mean of the A's and of the B's. For B-only, where A is shared, it is exact."""
    return Factors(
        tuple((x + y) / 2 for x, y in zip(one.a, two.a, strict=True)),
        tuple((x + y) / 2 for x, y in zip(one.b, two.b, strict=True)),
    )


def average_stacked(one: Factors, two: Factors) -> Factors:
    """The mean of the products B·A, exact, at twice the rank."""
    return Factors(
        tuple(torch.cat([x, y]) for x, y in zip(one.a, two.a, strict=True)),
        tuple(torch.cat([x, y], 1) / 2 for x, y in zip(one.b, two.b, strict=True)),
    )


def run(
    base: Path,
    sources: Mapping[str, Sequence[str]],
    out: Path,
    scale: Scale | None = None,
    on_cell: Callable[[dict[str, Any]], None] = lambda _cell: None,
) -> dict[str, Any]:
    """Fill every cell that ``out`` does not hold yet and return them all.

    ``sources`` maps a name to its documents; the first one is also the one that rates are tuned on.
    Raises ``ValueError`` when a source has too few documents.
    """
    scale = scale or Scale()
    key = json.loads(json.dumps(asdict(scale)))
    cells = [cell for cell in _read(out) if cell["scale"] == key]
    bench: _Bench | None = None

    def have(**wanted: object) -> dict[str, Any] | None:
        return next((c for c in cells if all(c.get(k) == v for k, v in wanted.items())), None)

    def keep(**cell: object) -> None:
        full = {**cell, "scale": key}
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(full) + "\n")
        cells.append(full)
        on_cell(full)

    def loaded() -> _Bench:
        nonlocal bench
        bench = bench or _Bench(base, scale)
        return bench

    parts = {name: _parts(name, texts, scale) for name, texts in sources.items()}
    for name, (_, _, held) in parts.items():
        if not have(kind="base", source=name):
            keep(kind="base", source=name, **loaded().measure(WAYS[0], None, held))
    first = next(iter(parts))
    for group in GROUPS:
        for way in group:
            train, validation, _ = parts[first]
            rates = list(scale.rates)
            for rate in rates:
                if not have(kind="tune", way=way.name, rate=rate):
                    factors, ended = loaded().train(way, train, rate)
                    measured = loaded().measure(way, factors, validation)
                    loss = measured["loss"] if math.isfinite(measured["loss"]) else 1e9
                    size = _trained(loaded(), way)
                    keep(kind="tune", way=way.name, rate=rate, loss=loss, ended=ended, size=size)
                if rate == rates[-1] and len(rates) < len(scale.rates) + WIDENINGS:
                    rates += _beyond(rates, best_rate(cells, way.name))
        for name, (train, _, held) in parts.items():
            for way in group:
                rate = best_rate(cells, way.name)
                if not have(kind="alone", way=way.name, source=name):
                    factors, ended = loaded().train(way, train, rate)
                    measured = loaded().measure(way, factors, held)
                    keep(kind="alone", way=way.name, source=name, ended=ended, **measured)
                ways_to_average = ["separately", "stacked"] if way.lora else ["separately"]
                if not all(have(kind=k, way=way.name, source=name) for k in ways_to_average):
                    half = len(train) // 2
                    one, _ = loaded().train(way, train[:half], rate)
                    two, _ = loaded().train(way, train[half:], rate)
                    for kind in ways_to_average:
                        combine = average_separately if kind == "separately" else average_stacked
                        measured = loaded().measure(way, combine(one, two), held)
                        keep(kind=kind, way=way.name, source=name, **measured)
    return {"cells": cells, "sources": list(parts)}


def _trained(bench: _Bench, way: Way) -> int:
    layers = bench.layouts[way].layers
    return sum(way.rank * (layer.out + layer.inp * way.lora) for layer in layers)


def best_rate(cells: Sequence[Mapping[str, Any]], way: str) -> float:
    """The learning rate with the lowest validation loss."""
    tuned = [c for c in cells if c["kind"] == "tune" and c["way"] == way]
    return float(min(tuned, key=lambda c: c["loss"])["rate"])


def _beyond(rates: Sequence[float], best: float) -> list[float]:
    """The next rate where the best one is the lowest or the highest that was tried, else none."""
    low, high = min(rates), max(rates)
    return [high * 3] if best == high else [low / 3] if best == low else []


def _parts(name: str, texts: Sequence[str], scale: Scale) -> tuple[list[str], list[str], list[str]]:
    """Disjoint training, validation and held-out documents, drawn with the seed."""
    needed = scale.train + scale.validation + scale.held_out
    unique = sorted(set(texts))
    if len(unique) < needed:
        raise ValueError(f"{name} has {len(unique)} documents, {needed} are needed")
    order = np.random.default_rng(scale.seed).permutation(len(unique))[:needed]
    drawn = [unique[i] for i in order]
    held, rest = drawn[: scale.held_out], drawn[scale.held_out :]
    return rest[scale.validation :], rest[: scale.validation], held


def _read(out: Path) -> list[dict[str, Any]]:
    """The whole lines of the file; a line cut by an interruption is measured again."""
    cells = []
    if out.exists():
        text = out.read_text("utf-8")
        for line in text.splitlines():
            try:
                cells.append(json.loads(line))
            except ValueError:
                continue
        if not text.endswith("\n") and text:
            with out.open("a", encoding="utf-8") as file:
                file.write("\n")
    return cells


def difference(one: Mapping[str, Any], two: Mapping[str, Any]) -> tuple[float, float]:
    """Loss per token of ``one`` minus ``two`` on the same texts, and its standard error."""
    tokens: NDArray[np.float64] = np.asarray(one["tokens"], np.float64)
    apart = np.asarray(one["losses"]) - np.asarray(two["losses"])
    mean = float((apart * tokens).sum() / tokens.sum())
    spread = (apart - mean) * tokens
    error = math.sqrt(float((spread**2).sum()) * len(tokens) / (len(tokens) - 1)) / tokens.sum()
    return mean, float(error)


def rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The table: a line for each way, with a column for each source and manner of averaging."""
    cells, sources = result["cells"], result["sources"]

    def find(**wanted: object) -> Mapping[str, Any] | None:
        return next((c for c in cells if all(c.get(k) == v for k, v in wanted.items())), None)

    def shown(cell: Mapping[str, Any] | None, against: Mapping[str, Any] | None) -> str:
        if cell is None:
            return "–"
        if against is None or cell is against:
            return f"{cell['loss']:.3f}"
        mean, error = difference(cell, against)
        return f"{cell['loss']:.3f} ({mean:+.3f} ± {error:.3f})"

    table = [["base", "", "", *(shown(find(kind="base", source=s), None) for s in sources)]]
    for way, lora in ((way, group[0].name) for group in GROUPS for way in group):
        tuned = find(kind="tune", way=way.name)
        if tuned is None:
            continue
        finished = [c for c in cells if c["kind"] == "tune" and c["way"] == way.name]
        rate = f"{best_rate(finished, way.name):g}"
        for kind in ("alone", "separately", "stacked"):
            if kind == "stacked" and not way.lora:
                continue
            label = {"alone": "alone", "stacked": "two children, exact"}.get(kind)
            label = label or (
                "two children, A and B separately" if way.lora else "two children, in θ"
            )
            values = []
            for source in sources:
                against = find(kind="stacked" if kind != "alone" else kind, way=lora, source=source)
                values.append(shown(find(kind=kind, way=way.name, source=source), against))
            table.append([f"{way.name} ({tuned['size']:,})", rate, label, *values])
    return table


def print_table(result: Mapping[str, Any]) -> None:
    """Show the table; differences are to LoRA of as many parameters, exactly averaged."""
    table = Table(title="Held-out loss, nats per token (difference to LoRA ± standard error)")
    for column in ("way (trained)", "rate", "adapter", *result["sources"]):
        table.add_column(column)
    for row in rows(result):
        table.add_row(*row)
    Console().print(table)
