"""Claims about drawing probes: balanced, fresh, secret, and retired when used up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation import AggregationError
from aggregation.gate import GatePolicy, Reuse, Uses, draw

POLICY = GatePolicy(size=64, each=1, retire_after=8, least=8)
NEVER = replace(POLICY, reuse=Reuse.NEVER)


def pool(**sizes: int) -> dict[str, dict[str, int]]:
    return {source: {f"{source}-{i}": 0 for i in range(size)} for source, size in sizes.items()}


POOLS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.lists(st.integers(0, 12), min_size=1, max_size=60).map(
        lambda uses: {str(i): u for i, u in enumerate(uses)}
    ),
    min_size=1,
)


@given(POOLS, st.integers(0, 2**63))
def test_a_draw_takes_known_probes_and_no_retired_one_unless_it_says_so(
    uses: Uses, seed: int
) -> None:
    drawn = draw(uses, seed, POLICY)
    assert drawn.probes.keys() == uses.keys()
    for source, names in drawn.probes.items():
        assert len(set(names)) == len(names) > 0
        if source not in drawn.reused:
            assert all(uses[source][name] < POLICY.retire_after for name in names)


@given(POOLS, st.integers(0, 2**63))
def test_a_draw_is_as_large_as_asked_or_takes_everything(uses: Uses, seed: int) -> None:
    drawn = draw(uses, seed, POLICY)
    there = sum(
        len(of) if s in drawn.reused else sum(u < POLICY.retire_after for u in of.values())
        for s, of in uses.items()
    )
    assert sum(map(len, drawn.probes.values())) == min(POLICY.size, there)


@given(POOLS, st.integers(0, 2**63))
def test_no_source_gives_more_while_another_could_give_as_much(uses: Uses, seed: int) -> None:
    drawn = draw(uses, seed, POLICY)
    most = max(map(len, drawn.probes.values()))
    for source, names in drawn.probes.items():
        of = uses[source].values()
        there = len(of) if source in drawn.reused else sum(u < POLICY.retire_after for u in of)
        assert len(names) >= min(there, most - 1)


@given(POOLS, st.integers(0, 2**63))
def test_a_draw_depends_on_the_seed_and_on_no_order(uses: Uses, seed: int) -> None:
    turned = {s: dict(sorted(uses[s].items(), reverse=True)) for s in sorted(uses, reverse=True)}
    assert draw(turned, seed, POLICY) == draw(uses, seed, POLICY)


def test_two_gates_draw_different_probes() -> None:
    of = pool(a=512)
    first, second = (set(draw(of, seed, POLICY).probes["a"]) for seed in (1, 2))
    assert len(first & second) < 32


def test_what_a_small_source_lacks_the_others_give() -> None:
    drawn = draw(pool(a=4, b=100, c=100), 0, POLICY)
    assert [len(drawn.probes[s]) for s in "abc"] == [4, 30, 30]


def test_many_sources_are_drawn_with_enough_probes_each() -> None:
    drawn = draw(pool(a=9, b=9, c=9), 0, replace(POLICY, size=2, each=4))
    assert all(len(names) == 4 for names in drawn.probes.values())


def test_a_probe_retires_after_eight_gates() -> None:
    of: Uses = pool(a=256)
    with pytest.raises(AggregationError) as refused:
        for seed in range(256 * 8 // 64 + 2):
            of = draw(of, seed, NEVER).used(of)
    assert refused.value.code == "too-few-probes"
    assert max(of["a"].values()) == 8
    assert sum(u < 8 for u in of["a"].values()) < 8
    assert draw(of, 99, POLICY).reused == ("a",)


def test_of_a_dry_source_the_least_used_come_first() -> None:
    of = {"a": {str(i): 8 + (i % 2) for i in range(128)}}
    drawn = draw(of, 0, POLICY)
    assert all(of["a"][name] == 8 for name in drawn.probes["a"])


def test_a_few_probes_are_all_used_until_they_retire() -> None:
    of: Uses = pool(a=5)
    for seed in range(8):
        drawn = draw(of, seed, NEVER)
        assert len(drawn.probes["a"]) == 5
        of = drawn.used(of)
    with pytest.raises(AggregationError):
        draw(of, 8, NEVER)


@pytest.mark.parametrize("empty", [{}, {"a": {}}])
def test_a_source_without_probes_is_an_error(empty: Uses) -> None:
    with pytest.raises(AggregationError) as refused:
        draw(empty, 0, POLICY)
    assert refused.value.code == "no-probes"
