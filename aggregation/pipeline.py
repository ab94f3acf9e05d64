"""A pipeline: pre-aggregation steps, then one rule, as configuration names them.

``"trimmed_mean"``, ``["arc", "nnm", "trimmed_mean"]``, ``["clip:2.5", "bucketing:2", "median"]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from aggregation import centring, order, pre_aggregation, selection
from aggregation.combine import combine
from aggregation.errors import AggregationError, check_count
from aggregation.points import Points, inputs_of
from aggregation.rule import Aggregate, Rule, majority
from aggregation.updates import Updates

_RULES = (
    Rule("mean", majority),
    Rule("trimmed_mean", majority, middle=order.trimmed_mean),
    Rule("median", majority, middle=order.median),
    Rule("mean_around_median", majority, middle=order.mean_around_median, sorts=True),
    Rule("geometric_median", majority, centring.geometric_median),
    Rule("centred_clipping", majority, centring.centred_clipping),
    Rule("caf", majority, centring.covariance_filter),
    Rule("krum", majority, selection.krum),
    Rule("multi_krum", majority, selection.multi_krum),
    Rule("mda", majority, selection.minimum_diameter),
    Rule(
        "bulyan",
        lambda f: 4 * f + 3,
        selection.bulyan,
        lambda values, f, looked, loops: order.nearest_to_median(
            values, max(len(values) - 2 * f, 1), looked, loops
        ),
        sorts=True,
    ),
)
RULES: Mapping[str, Rule] = MappingProxyType({rule.name: rule for rule in _RULES})
"""Every rule by the name that configuration uses."""

Step = Callable[[Points, int, int], Points]
"""A pre-aggregation step: it maps rows, f and a seed to rows."""


def _clip(parameter: str) -> Step:
    longest = float(parameter)
    if not (math.isfinite(longest) and longest > 0):
        raise ValueError
    return lambda points, f, seed: pre_aggregation.clip(points, longest)


def _bucketing(parameter: str) -> Step:
    size = int(parameter)
    if size < 1:
        raise ValueError
    return lambda points, f, seed: pre_aggregation.bucketing(points, size, f, seed)


_PLAIN: Mapping[str, Step] = {
    "arc": lambda points, f, seed: pre_aggregation.arc(points, f),
    "nnm": lambda points, f, seed: pre_aggregation.nnm(points, f),
}
_WITH_PARAMETER: Mapping[str, tuple[Callable[[str], Step], str]] = {
    "clip": (_clip, "the longest norm, as in clip:2.5"),
    "bucketing": (_bucketing, "how many updates go into a bucket, as in bucketing:2"),
}
STEPS: tuple[str, ...] = (*_PLAIN, *_WITH_PARAMETER)
"""Every pre-aggregation step by the name that configuration uses."""


@dataclass(frozen=True)
class Pipeline:
    """Steps, then a rule. Made by ``parse``.

    The same updates give the same bits, twice and in whatever order the rows are.
    """

    names: tuple[str, ...]
    steps: tuple[Step, ...]
    rule: Rule

    @classmethod
    def parse(cls, names: str | Sequence[str]) -> Pipeline:
        """Read a pipeline's names.

        Raises ``AggregationError``: ``unknown-rule`` for a name that is not known, ``bad-pipeline``
        for a rule that is missing, doubled or not last, and for a wrong parameter.
        """
        listed = (names,) if isinstance(names, str) else tuple(names)
        rules = [name for name in listed if name in RULES]
        steps = tuple(_step(name) for name in listed if name not in RULES)
        if len(rules) != 1 or listed[-1] != rules[0]:
            raise AggregationError(
                "bad-pipeline",
                "A pipeline is any number of steps and then one rule "
                f"({', '.join(RULES)}), got {list(listed)}.",
            )
        return cls(listed, steps, RULES[rules[0]])

    def __call__(self, updates: Updates, f: int, seed: int = 0) -> Aggregate:
        """Aggregate ``updates``, of whose seats ``f`` may be bad.

        Args:
            seed: for bucketing, and for where weights are looked at; to be drawn when the updates
                are in.

        Raises:
            AggregationError: ``bad-f``, ``bad-seed``, ``too-few-updates``, ``too-large``.
        """
        if seed < 0:
            raise AggregationError("bad-seed", f"A seed must be at least 0, got {seed}.")
        points = Points.from_inputs(inputs_of(updates, f))
        applied = []
        for name, step in zip(self.names[:-1], self.steps, strict=True):
            before, points = points, step(points, f, seed)
            if points is not before:
                applied.append(name)
        check_count(points.count, f, self.rule.least(f), self.rule.name)
        return combine(points, self.rule, (*applied, self.rule.name), seed)


def aggregate(pipeline: str | Sequence[str], updates: Updates, f: int, seed: int = 0) -> Aggregate:
    """Apply a pipeline given by its names; see ``Pipeline``.

    Raises ``AggregationError``: what ``Pipeline.parse`` and calling it refuse.
    """
    return Pipeline.parse(pipeline)(updates, f, seed)


def _step(name: str) -> Step:
    head, colon, parameter = name.partition(":")
    if name in _PLAIN:
        return _PLAIN[name]
    if head in _WITH_PARAMETER:
        make, meaning = _WITH_PARAMETER[head]
        try:
            return make(parameter)
        except ValueError:
            raise AggregationError("bad-pipeline", f"{name!r} needs {meaning}.") from None
    if colon and (head in _PLAIN or head in RULES):
        raise AggregationError("bad-pipeline", f"{head!r} takes no parameter, got {name!r}.")
    raise AggregationError(
        "unknown-rule",
        f"There is no rule or step {name!r}. Rules: {', '.join(RULES)}. Steps: {', '.join(STEPS)}.",
    )
