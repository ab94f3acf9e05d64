"""Does the measurement of a shift tell more of the same from something new? On real text.

Compares words, as nodes do: ``python docs/measurements/shift.py``; results in ``docs/replay.md``.
The thresholds of ``aggregation.replay`` were chosen on organ systems and circulatory names; the
texts of ``UNSEEN`` played no part in that.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
import typer
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


def main(
    repeats: int = 5,
    only: Annotated[str, typer.Option(help="Cases with this in their name.")] = "",
    seed: int = 0,
) -> None:
    """Print the table."""
    console = Console(width=120)
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


if __name__ == "__main__":
    typer.run(main)
