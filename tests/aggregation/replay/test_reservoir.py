"""Claims about what a reservoir keeps."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation import AggregationError
from aggregation.replay import Cell, Item, Reservoir, allotments, keyed_hash
from aggregation.replay.reservoir import fill

CELLS = [Cell(s, c) for s in ("heart", "eye", "skin") for c in (None, "one", "two")]


def item(number: int, cell: Cell, size: int, late: bool = False) -> Item:
    return Item(cell, keyed_hash(f"{number}", b"key"), size, late)


@st.composite
def arrivals(draw: st.DrawFn) -> list[Item]:
    drawn = draw(
        st.lists(st.tuples(st.sampled_from(CELLS), st.integers(1, 60), st.booleans()), max_size=60)
    )
    return [item(i, *one) for i, one in enumerate(drawn)]


def in_pieces(items: list[Item], cuts: list[int], budget: int, cap: float) -> Reservoir:
    reservoir = Reservoir(budget, cap)
    ends = sorted(cut % (len(items) + 1) for cut in cuts)
    for start, end in zip([0, *ends], [*ends, len(items)], strict=True):
        reservoir = reservoir.taking(items[start:end])
    return reservoir


@given(
    arrivals(), st.randoms(), st.lists(st.integers(0, 100)), st.integers(0, 900), st.floats(0, 1)
)
def test_it_is_the_same_in_any_order_and_in_any_pieces(
    items: list[Item], order: object, cuts: list[int], budget: int, cap: float
) -> None:
    shuffled = list(items)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    at_once = Reservoir(budget, cap).taking(items)
    assert in_pieces(shuffled, cuts, budget, cap) == at_once


@given(arrivals(), st.integers(0, 900), st.floats(0, 1))
def test_it_keeps_to_its_budget_and_every_child_to_its_cap(
    items: list[Item], budget: int, cap: float
) -> None:
    kept = Reservoir(budget, cap).taking(items).items
    by_child: Counter[str | None] = Counter()
    for one in kept:
        by_child[one.cell.child] += one.size
    assert by_child.total() <= budget
    assert all(size <= cap * budget for child, size in by_child.items() if child is not None)


@given(arrivals(), st.integers(0, 900))
def test_everything_is_kept_while_it_fits(items: list[Item], spare: int) -> None:
    whole = sum(one.size for one in items)
    kept = Reservoir(whole + spare).taking(i for i in items if i.cell.child is None).items
    assert kept == {i for i in items if i.cell.child is None}


def test_a_small_source_leaves_its_rest_to_large_ones() -> None:
    assert fill({"small": 10, "large": 500, "huge": 9000}, 110) == {
        "small": 10,
        "large": 50,
        "huge": 50,
    }


@given(st.lists(st.integers(0, 100), max_size=9), st.integers(0, 500))
def test_water_filling_spends_what_it_can(demands: list[int], budget: int) -> None:
    shares = fill(dict(enumerate(demands)), budget)
    spent = sum(shares.values())
    assert all(0 <= shares[i] <= demand for i, demand in enumerate(demands))
    assert spent <= budget
    left = min(budget, sum(demands)) - spent
    assert left < max(1, sum(shares[i] < demand for i, demand in enumerate(demands)))


def test_a_new_source_shrinks_the_others_alike() -> None:
    cells = [Cell(name) for name in ("heart", "eye", "skin")]
    reservoir = Reservoir(6000)
    for number, cell in enumerate(cells, 1):
        reservoir = reservoir.taking(item(1000 * number + i, cell, 10) for i in range(900))
        held = Counter(one.cell for one in reservoir.items)
        assert set(held.values()) == {600 // number}


def test_the_sample_of_a_source_is_uniform() -> None:
    reservoir = Reservoir(2000).taking(item(i, Cell("heart"), 10) for i in range(1000))
    places = sorted(
        i
        for i in range(1000)
        if any(one.priority == keyed_hash(f"{i}", b"key") for one in reservoir.items)
    )
    assert len(places) == 200
    assert sum(places) / len(places) == pytest.approx(500, abs=60)


def test_a_child_that_shares_a_flood_evicts_nobody_else_below_an_equal_part() -> None:
    honest, flooding = Cell("heart", "honest"), Cell("heart", "flood")
    reservoir = Reservoir(10_000, 0.4).taking(item(i, honest, 10) for i in range(300))
    flood = (item(1000 + i, flooding, 10) for i in range(50_000))
    held = Counter(one.cell for one in reservoir.taking(flood).items)
    assert held == {honest: 300, flooding: 400}


def test_a_child_that_is_filed_under_many_sources_keeps_its_one_cap() -> None:
    cells = [Cell(f"source {i}", "child") for i in range(8)]
    room = allotments(dict.fromkeys(cells, 10_000), 1000, 0.25)
    assert sum(room.values()) <= 250


def test_what_is_used_up_gives_way_first() -> None:
    worn = [item(i, Cell("heart"), 10, late=True) for i in range(50)]
    good = [item(100 + i, Cell("heart"), 10) for i in range(50)]
    kept = Reservoir(700).taking([*worn, *good]).items
    assert Counter(one.late for one in kept) == {False: 50, True: 20}


def test_documents_of_one_source_are_kept_in_the_order_of_their_priorities() -> None:
    items = [item(i, Cell("eye"), 1 + i % 40) for i in range(200)]
    kept = defaultdict(list)
    inside = Reservoir(800).taking(items).items
    for one in items:
        kept[one in inside].append(one.priority)
    assert max(kept[True]) < min(kept[False])


@pytest.mark.parametrize(("budget", "cap"), [(-1, 0.5), (10, 1.5), (10, float("nan"))])
def test_a_budget_that_is_none_is_refused(budget: int, cap: float) -> None:
    with pytest.raises(AggregationError, match="bad-budget"):
        Reservoir(budget, cap)
