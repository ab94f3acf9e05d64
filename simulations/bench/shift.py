"""Does the measurement of a shift tell more of the same from something new? On real text.

``python -m simulations.bench.shift`` compares words, as nodes do; with ``--losses`` it compares the
losses of a model that was trained on one organ system, the alternative. The thresholds of
``aggregation.replay`` were chosen on organ systems and circulatory names; the texts of ``UNSEEN``
played no part in that.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from aggregation.replay import Kind, Shift, shift
from simulations.datasets.hpo import SYSTEMS, definitions
from simulations.datasets.icd10 import names

CASES = ((30, 30), (30, 100), (30, 300), (100, 300))
"""How many documents are new and how many old."""
LANGUAGES = ("es", "de", "fr", "zh_CN")
MIXTURES = 25
UNSEEN = tuple((n, c) for n in ("fr", "pt_BR") for c in ("neoplasms", "mental", "respiratory"))
"""Languages and chapters that the thresholds never saw."""
TRAINED_ON = "nervous"
Found = dict[str, list[Shift]]


def by_words(repeats: int, seed: int) -> dict[str, Callable[[], Found]]:
    """For each case what gives its verdicts, by how new the text really is.

    Every case draws for itself: it comes out the same with and without the others.
    """
    cases: dict[str, Callable[[], Found]] = {
        f"{new} new, {old} old, one source": partial(_of_one, new, old, repeats, seed)
        for new, old in CASES
    }
    for new in (30, 90):
        cases[f"{new} new, three systems known"] = partial(_of_several, new, seed)
    cases["names of diseases, 30 new, 100 old, unseen"] = partial(_of_unseen, seed)
    return cases


def _of_one(new: int, old: int, repeats: int, seed: int) -> Found:
    """One source is known."""
    order = random.Random(seed)  # noqa: S311
    systems = {system: definitions(system) for system in SYSTEMS}
    chapters = {language: names(language, "circulatory") for language in ("en", *LANGUAGES)}
    found: Found = defaultdict(list)
    for system, texts in (systems | chapters).items():
        for draw in range(repeats):
            drawn = order.sample(texts, new + old)
            found["same"].append(shift(drawn[:new], {system: drawn[new:]}, seed=draw))
    for system, texts in systems.items():
        for other, others in (systems | chapters).items():
            if other == system:
                continue
            how = "other system" if other in systems else "other language"
            how = "names of diseases, English" if other == "en" else how
            for draw in range(repeats):
                known = {system: order.sample(texts, old)}
                found[how].append(shift(order.sample(others, new), known, seed=draw))
    return found


def _of_unseen(seed: int) -> Found:
    """Text that the thresholds were not chosen on."""
    order = random.Random(seed)  # noqa: S311
    found: Found = defaultdict(list)
    for language, chapter in UNSEEN:
        for other_language, other in UNSEEN:
            drawn = order.sample(names(language, chapter), 130)
            new = order.sample(names(other_language, other), 30)
            how = "other chapter" if language == other_language else "other language"
            if (language, chapter) == (other_language, other):
                how, new = "same", drawn[100:]
            found[how].append(shift(new, {chapter: drawn[:100]}, seed=seed))
    return found


def _of_several(new: int, seed: int) -> Found:
    """Three systems are known, as three sources or in one."""
    order = random.Random(seed)  # noqa: S311
    systems = {system: definitions(system) for system in SYSTEMS}
    spanish = names("es", "circulatory")
    found: Found = defaultdict(list)
    for draw in range(MIXTURES):
        chosen = order.sample(sorted(systems), 4)
        texts = {s: order.sample(systems[s], 150 + new) for s in chosen}
        unknown = texts.pop(chosen[-1])[:new]
        one, share = texts[chosen[0]], new // 5
        arriving = {
            "one of them": one[:new],
            "all of them": [t for s in texts.values() for t in s[: new // 3]],
            "another system": unknown,
            "one of them, a fifth Spanish": one[: new - share] + order.sample(spanish, share),
        }
        sources = {s: t[new:] for s, t in texts.items()}
        together = {"own": [t for s in sources.values() for t in s]}
        for how, documents in arriving.items():
            found[f"{how} (three sources)"].append(shift(documents, sources, seed=draw))
            found[f"{how} (in one source)"].append(shift(documents, together, seed=draw))
    return found


def by_losses(
    base: Path, steps: int, count: int, seed: int
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Of each kind of text (count,) losses before and after training on one organ system."""
    from nodes.model.base import load_base
    from nodes.model.basis import draw_basis
    from nodes.model.effective import EffectiveModel
    from nodes.model.layout import Layout
    from nodes.model.learner import Training, train

    layout = Layout.of_model(load_base(base)[0], ("q_proj", "v_proj"), 16)
    model = EffectiveModel(base, layout, draw_basis(layout, seed=0))
    order = random.Random(seed)  # noqa: S311
    texts = {system: order.sample(definitions(system), 300) for system in SYSTEMS}
    texts["Spanish"] = order.sample(names("es", "circulatory"), 300)
    zero = np.zeros(layout.size, np.float32)
    known, unseen = texts[TRAINED_ON][2 * count :], texts[TRAINED_ON][: 2 * count]
    learned = train(model, zero, known, Training(steps=steps, seed=seed))
    texts[TRAINED_ON], texts["same"] = unseen[:count], unseen[count:]
    found = {}
    for name, of_kind in texts.items():
        losses = []
        for theta in (zero, learned.delta):
            model.set_theta(theta)
            losses.append(model.sequence_losses(of_kind[:count])[0])
        found[name] = (losses[0], losses[1])
    return found


def main(
    losses: Annotated[bool, typer.Option(help="Measure the alternative instead.")] = False,
    base: Annotated[Path, typer.Option(help="Where the base lies, or is made.")] = Path(
        "runs/base"
    ),
    steps: int = 30,
    count: int = 40,
    repeats: int = 5,
    only: Annotated[str, typer.Option(help="Cases with this in their name.")] = "",
    seed: int = 0,
) -> None:
    """Print the table."""
    console = Console(width=120)
    if losses:
        console.print(_loss_table(base, steps, count, seed))
        return
    for case, measure in by_words(repeats, seed).items():
        if only not in case:
            continue
        started = time.perf_counter()
        of_case = measure()
        seconds = time.perf_counter() - started
        table = Table("text", "n", "least", "median", "most", *Kind, title=case)
        for how, verdicts in of_case.items():
            values = [v.statistic for v in verdicts if v.statistic is not None]
            kinds = Counter(v.kind for v in verdicts)
            quantiles = (f"{q:.3f}" for q in np.quantile(values, [0, 0.5, 1]))
            table.add_row(how, str(len(verdicts)), *quantiles, *(str(kinds[k]) for k in Kind))
        console.print(table, f"{seconds:.1f} s, {sum(map(len, of_case.values()))} verdicts")


def _loss_table(base: Path, steps: int, count: int, seed: int) -> Table:
    from simulations.datasets.smollm2 import smollm2_base

    measured = by_losses(smollm2_base(base), steps, count, seed)
    own = measured[TRAINED_ON]
    title = f"{count} documents each, after {steps} steps on {TRAINED_ON}; z against its own"
    table = Table("text", "base", "trained", "gain", "sd", "z of loss", "z of gain", title=title)
    for name, (before, after) in measured.items():
        gain = before - after
        row = (before.mean(), after.mean(), gain.mean(), gain.std(), _z(own[1], after))
        table.add_row(name, *(f"{x:.3f}" for x in row), f"{_z(gain, own[0] - own[1]):.1f}")
    return table


def _z(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """How many standard errors the mean of ``b`` lies above that of ``a``."""
    return float((b.mean() - a.mean()) / np.sqrt(a.var() / a.size + b.var() / b.size))


if __name__ == "__main__":
    typer.run(main)
