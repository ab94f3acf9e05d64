"""What a definition leaves open, and every outcome it allows.

Where scores tie to rounding, a rule may take either row. The reference asks a ``Choices`` at each
such fork; ``every`` runs it again and again until all forks were taken both ways. So a test can
accept exactly the outcomes that the definition accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

Result = TypeVar("Result")

MOST_OPTIONS = 1000  # at one fork; beyond it the outcome counts as undecided


class Choices:
    """Takes the forks of one run: the scripted ones first, then always the first option.

    ``undecided`` says that the run met something that no list of options covers.
    """

    def __init__(self, script: Sequence[int] = ()) -> None:
        self.script = list(script)
        self.options: list[int] = []
        self.undecided = False

    def pick(self, count: int) -> int:
        """One of ``count`` options."""
        place = len(self.options)
        self.options.append(count)
        return self.script[place] if place < len(self.script) else 0


def no_tie(below: float, above: float, spread: float) -> bool:
    """For values that came in as they are: no rounding, so ties are ties."""
    return False


def tie_to_rounding(choices: Choices) -> Callable[[float, float, float], bool]:
    """For values that steps made: where two distances tie to rounding, either is the larger."""

    def tie(below: float, above: float, spread: float) -> bool:
        return abs(below - above) <= 1e-5 * spread and bool(choices.pick(2))

    return tie


def every(run: Callable[[Choices], Result]) -> Iterator[tuple[Result, bool]]:
    """Each outcome of ``run``, with whether it was decided, as an odometer over its forks."""
    script: list[int] = []
    while True:
        choices = Choices(script)
        result = run(choices)
        yield result, not choices.undecided
        script += [0] * (len(choices.options) - len(script))
        while script and script[-1] + 1 == choices.options[len(script) - 1]:
            script.pop()
        if not script:
            return
        script[-1] += 1


def smallest(
    scores: Sequence[float],
    slack: Sequence[float],
    count: int,
    kinds: Sequence[Hashable],
    choices: Choices,
) -> list[int]:
    """``count`` places with the smallest scores; the first option takes the earliest places.

    Scores tie when they differ by no more than both their slacks. Places of one kind are
    interchangeable: which of them is taken is no fork.
    """
    ranked = sorted(range(len(scores)), key=lambda i: scores[i])
    if count >= len(ranked):
        return ranked
    last = ranked[count - 1]
    tied = [i for i in ranked if abs(scores[i] - scores[last]) <= slack[i] + slack[last]]
    sure = [i for i in ranked[:count] if i not in tied]
    groups: dict[Hashable, list[int]] = {}
    for i in sorted(tied):
        groups.setdefault(kinds[i], []).append(i)
    ways = list(islice(_ways(list(groups.values()), count - len(sure)), MOST_OPTIONS + 1))
    if len(ways) > MOST_OPTIONS:
        choices.undecided = True
    ways.sort(key=sorted)
    return sure + ways[choices.pick(len(ways)) if len(ways) > 1 else 0]


def _ways(groups: list[list[int]], count: int) -> Iterator[list[int]]:
    """Every way to take ``count`` from the groups, where a group's members are alike."""
    if count < 2:
        yield from [[group[0]] for group in groups] if count else [[]]
        return
    if not groups:
        return
    head, *rest = groups
    for taken in range(min(len(head), count), -1, -1):
        for others in _ways(rest, count - taken):
            yield head[:taken] + others
