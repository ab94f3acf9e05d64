"""Claims about single figures: how numbers read, how series of seeds become one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.report.blocks import HEATS, heat
from simulations.report.cells import MOST_POINTS, thinned
from simulations.report.grid import spread
from simulations.report.losses import merged
from simulations.report.text import (
    duration,
    factor,
    figure,
    key_text,
    marked,
    percent,
    size,
    value_text,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (figure(3.4119), "3.412"),
        (figure(-0.0123), "−0.0123"),
        (figure(0.0), "0.000"),
        (figure(19163.2), "19,163"),
        (figure(3.2e12), "3.20e+12"),
        (figure(None), "–"),
        (figure(math.nan), "diverged"),
        (percent(0.914), "91 %"),
        (percent(-0.4), "−40 %"),
        (percent(-31.0), "< −1000 %"),
        (percent(-math.inf), "diverged"),
        (size(999), "999 B"),
        (size(2_300_000), "2.3 MB"),
        (size(999_000_000), "999 MB"),
        (duration(0.0123), "12.3 ms"),
        (duration(90), "90 s"),
        (duration(600), "10 min"),
        (duration(9000), "2.5 h"),
        (duration(1_000_000), "11.6 d"),
        (factor(9.84), "×9.84"),
        (factor(1000), "×1,000"),
        (value_text(["arc", "centred_clipping"]), "arc + centred_clipping"),
        (value_text([2, 3, 10]), "2×3×10"),
        (value_text(True), "yes"),
        (value_text({"name": "alie", "fraction": 0.2}), "alie, fraction 0.2"),
        (key_text("attack.name"), "attack"),
        (key_text("rounds.steps", ["rounds.steps", "training.steps"]), "rounds.steps"),
    ],
)
def test_numbers_and_settings_read_well(text: str, expected: str) -> None:
    assert text.replace("\u00a0", " ") == expected


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=9))
def test_a_spread_is_in_order_and_without_nan(values: list[float]) -> None:
    of = spread(values)
    assert of is not None
    assert of.least <= of.most
    assert not math.isnan(of.least) and not math.isnan(of.most)


def test_a_seed_takes_part_from_its_first_value_and_keeps_its_last() -> None:
    middle, band = merged([((0, 4.0), (10, 2.0)), ((5, 3.0), (20, 1.0))])
    assert [x for x, _ in middle] == [0, 5, 10, 20]
    assert [y for _, y in middle] == pytest.approx([4, 3, (2 + 7 / 3) / 2, 1.5])
    assert band[-1] == (20, 1.0, 2.0)


def test_one_seed_has_no_band() -> None:
    assert merged([((0, 1.0), (1, 2.0))]) == (((0, 1.0), (1, 2.0)), ())


@given(st.integers(1, 2000))
def test_thinning_keeps_the_ends_and_the_order(count: int) -> None:
    points = [(float(n), float(n)) for n in range(count)]
    kept = thinned(points)
    assert kept[0] == points[0] and kept[-1] == points[-1]
    assert len(kept) == min(count, MOST_POINTS)
    assert sorted(set(kept)) == list(kept)


@pytest.mark.parametrize(("share", "step"), [(-3, 0), (0, 0), (1, HEATS - 1), (7, HEATS - 1)])
def test_heat_stays_on_its_scale(share: float, step: int) -> None:
    assert heat(share) == step
    assert heat(math.nan) == 0
    assert heat(None) is None


def test_a_question_is_a_paragraph_and_its_code_is_code() -> None:
    told = marked("Who may `a<b`?\nNobody, says one ` alone.")
    assert told == "Who may <code>a&lt;b</code>? Nobody, says one ` alone."
