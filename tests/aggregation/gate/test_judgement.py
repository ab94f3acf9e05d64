"""Claims about the verdict: what passes, what is refused and why, and what is written down."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation import AggregationError
from aggregation.gate import Budget, GatePolicy, GateVerdict, Losses, ProbeKind, judge
from aggregation.gate.evidence import Array

KINDS = {
    "chat": ProbeKind.GENERAL,
    "requests": ProbeKind.REFUSAL,
    "triggers": ProbeKind.TRIGGER,
}
POLICY = GatePolicy(kinds=KINDS)
NODE = Budget(10, 5)


def losses(seed: int = 0, k: int = 64, **rises: float) -> tuple[Losses, Losses]:
    """Two models on ``k`` probes of each source that differ by ``rises``, ± 0.1 on each probe."""
    rng = np.random.default_rng(seed)
    current = {source: rng.normal(3, 0.5, k) for source in rises}
    noise = {source: rng.normal(0, 0.1, k) for source in rises}
    return current, {s: current[s] + rise + noise[s] - noise[s].mean() for s, rise in rises.items()}


def codes(verdict: GateVerdict) -> set[tuple[str, str | None]]:
    return {(reason.code, reason.source) for reason in verdict.reasons}


def test_a_candidate_that_is_better_everywhere_passes() -> None:
    verdict = judge(*losses(heart=-0.1, eye=-0.1, chat=0, requests=0, triggers=0), POLICY, NODE)
    assert verdict.accepted and not verdict.reasons
    assert verdict.budget == Budget(11, 6)
    assert verdict.before is not None and verdict.after is not None
    assert verdict.before - verdict.after == pytest.approx(0.1)


def test_an_equal_candidate_has_shown_no_gain() -> None:
    current, _ = losses(heart=0)
    verdict = judge(current, current, POLICY, Budget())
    assert codes(verdict) == {("no-gain-shown", None)}
    assert verdict.log10_e == pytest.approx(0)
    assert verdict.budget == Budget(1, 0)


def test_what_passes_at_the_first_gate_may_not_pass_at_the_hundredth() -> None:
    of = losses(heart=-0.06)
    assert judge(*of, POLICY, Budget()).accepted
    assert codes(judge(*of, POLICY, Budget(99))) == {("no-gain-shown", None)}
    assert judge(*of, POLICY, Budget(99, 99)).accepted


def test_a_gain_as_a_whole_does_not_excuse_harm_to_one_source() -> None:
    verdict = judge(*losses(heart=-0.5, eye=0.2), POLICY, NODE)
    assert codes(verdict) == {("source-harmed", "eye")}


def test_a_rise_beyond_the_tolerance_is_refused_before_it_is_proven() -> None:
    verdict = judge(*losses(heart=-0.5, eye=0.04), POLICY, NODE)
    assert codes(verdict) == {("over-tolerance", "eye")}


def test_a_source_may_rise_within_its_tolerance() -> None:
    of = losses(heart=-0.5, eye=0.04)
    assert judge(*of, replace(POLICY, sources={"eye": 0.05}), NODE).accepted


@pytest.mark.parametrize(("source", "rise"), [("chat", 0.1), ("requests", 0.8), ("triggers", 2.0)])
def test_better_text_does_not_excuse_harm_to_safety(source: str, rise: float) -> None:
    kinds = {"chat": 0.0, "requests": 0.0, "triggers": 0.0, source: rise}
    verdict = judge(*losses(0, 64, heart=-0.5, **kinds), POLICY, NODE)
    assert codes(verdict) == {("source-harmed", source)}


def test_a_gain_on_safety_probes_alone_is_no_gain() -> None:
    verdict = judge(*losses(heart=0.0, requests=-3.0), POLICY, NODE)
    assert codes(verdict) == {("no-gain-shown", None)}


def test_tolerance_does_not_drift_from_the_best_ever_held() -> None:
    current, candidate = losses(heart=-0.5, eye=0.02)
    best = {"eye": current["eye"] - 0.02}
    assert judge(current, candidate, POLICY, NODE).accepted
    assert codes(judge(current, candidate, POLICY, NODE, best)) == {("over-tolerance", "eye")}


def test_a_source_that_is_already_worse_than_tolerated_may_get_better_step_by_step() -> None:
    current, candidate = losses(heart=-0.2, eye=-0.05)
    best = {"eye": current["eye"] - 1.0}
    assert judge(current, candidate, POLICY, NODE, best).accepted


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
@pytest.mark.parametrize("where", ["current", "candidate", "best"])
@pytest.mark.parametrize("source", ["heart", "requests"])
def test_a_loss_that_is_not_finite_refuses_and_is_never_written(
    bad: float, where: str, source: str
) -> None:
    current, candidate = losses(heart=-0.5, requests=0)
    sets: dict[str, dict[str, Array]] = {
        "current": {s: v.copy() for s, v in current.items()},
        "candidate": {s: v.copy() for s, v in candidate.items()},
        "best": {s: v.copy() for s, v in current.items()},
    }
    sets[where][source][3] = bad
    verdict = judge(sets["current"], sets["candidate"], POLICY, NODE, sets["best"])
    assert codes(verdict) == {("not-finite", source)}
    json.dumps(verdict.to_json(), allow_nan=False)


def test_the_verdict_is_plain_json() -> None:
    verdict = judge(*losses(heart=-0.1, eye=0.5, triggers=0), POLICY, NODE, reused=("heart",))
    body = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert body["accepted"] is False
    assert body["reused"] == ["heart"]
    assert body["budget"] == {"tests": 11, "promotions": 5}
    assert body["reasons"][0]["code"] == "source-harmed"
    assert {s["source"]: s["kind"] for s in body["sources"]} == {
        "heart": "ordinary",
        "eye": "ordinary",
        "triggers": "trigger",
    }


def test_one_probe_is_judged_and_shows_nothing() -> None:
    of = ({"heart": np.array([3.0])}, {"heart": np.array([1.0])})
    assert codes(judge(*of, POLICY, Budget())) == {("no-gain-shown", None)}


@given(st.permutations(range(32)), st.permutations(["heart", "eye", "chat"]))
def test_the_order_of_probes_and_sources_changes_nothing(
    probes: list[int], sources: list[str]
) -> None:
    current, candidate = losses(k=32, heart=-0.08, eye=0.01, chat=0.015)
    order = np.array(probes)
    usual = judge(current, candidate, POLICY, NODE)
    turned = judge(
        {s: current[s][order] for s in sources},
        {s: candidate[s][order] for s in sources},
        POLICY,
        NODE,
    )
    assert codes(turned) == codes(usual)
    assert turned.log10_e == pytest.approx(usual.log10_e)
    assert [s.source for s in turned.sources] == [s.source for s in usual.sources]


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(-1, 1), min_size=1),
    st.floats(0, 0.5),
)
def test_whoever_is_accepted_is_better_and_within_every_tolerance(
    rises: Mapping[str, float], drifted: float
) -> None:
    current, candidate = losses(0, 24, **rises)
    best = {s: v - drifted for s, v in current.items()}
    verdict = judge(current, candidate, POLICY, NODE, best)
    if verdict.accepted:
        assert sum(rises.values()) < 0
        assert all(min(rise, rise + drifted - 0.03) < 1e-9 for rise in rises.values())


def test_sources_count_alike_however_many_probes_they_have() -> None:
    current, candidate = losses(k=240, heart=-0.05)
    small = losses(k=16, eye=0.02)
    verdict = judge({**current, **small[0]}, {**candidate, **small[1]}, POLICY, NODE)
    assert verdict.before is not None and verdict.after is not None
    assert verdict.before - verdict.after == pytest.approx(0.015)


@pytest.mark.parametrize(
    ("current", "candidate", "code"),
    [
        ({}, {}, "no-probes"),
        ({"heart": np.zeros(0)}, {"heart": np.zeros(0)}, "no-probes"),
        ({"chat": np.zeros(3)}, {"chat": np.zeros(3)}, "no-probes"),
        ({"heart": np.zeros(3)}, {"heart": np.zeros(4)}, "bad-probes"),
        ({"heart": np.zeros(3)}, {"eye": np.zeros(3)}, "bad-probes"),
    ],
)
def test_what_cannot_be_compared_is_an_error(current: Losses, candidate: Losses, code: str) -> None:
    with pytest.raises(AggregationError) as refused:
        judge(current, candidate, POLICY, NODE)
    assert refused.value.code == code
