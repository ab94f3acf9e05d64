"""Claims about noticing that the text has shifted, on real text."""

from __future__ import annotations

import random

import pytest

from aggregation.replay import ALIKE, SHIFTED, Kind, shift
from simulations.datasets.hpo import SYSTEMS, definitions
from simulations.datasets.icd10 import names

NEW, OLD = 30, 120


def some(texts: list[str], count: int, seed: int = 0) -> list[str]:
    return random.Random(seed).sample(texts, count)


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_more_text_of_one_system_is_no_shift(system: str) -> None:
    texts = some(definitions(system), NEW + OLD)
    assert shift(texts[:NEW], {system: texts[NEW:]}).kind is Kind.NONE


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_another_system_is_a_mild_shift(system: str) -> None:
    for other in SYSTEMS.keys() - {system}:
        found = shift(some(definitions(other), NEW), {system: some(definitions(system), OLD)})
        assert found.kind is Kind.MILD, other
        assert found.portion == SHIFTED


@pytest.mark.parametrize("language", ["es", "zh_CN"])
def test_another_language_is_a_strong_shift_and_more_of_it_is_none(language: str) -> None:
    text = some(names(language, "circulatory"), NEW + OLD)
    found = shift(text[:NEW], {s: some(definitions(s), OLD) for s in ("nervous", "eye")})
    assert (found.kind, found.portion) == (Kind.STRONG, SHIFTED)
    assert shift(text[:NEW], {"own": text[NEW:]}).kind is Kind.NONE


def test_text_like_one_of_several_sources_has_not_shifted() -> None:
    eye = some(definitions("eye"), NEW + OLD)
    old = {"nervous": some(definitions("nervous"), OLD), "eye": eye[NEW:]}
    found = shift(eye[:NEW], old)
    assert (found.kind, found.nearest) == (Kind.NONE, "eye")


def test_text_of_all_sources_together_has_not_shifted() -> None:
    parts = {s: some(definitions(s), OLD + NEW) for s in ("nervous", "eye", "immune")}
    new = [text for texts in parts.values() for text in texts[:NEW]]
    assert shift(new, {s: texts[NEW:] for s, texts in parts.items()}).kind is Kind.NONE


def test_too_little_text_is_not_judged() -> None:
    found = shift(definitions("eye")[:29], {"eye": definitions("eye")[:100]})
    assert (found.kind, found.statistic, found.portion) == (Kind.UNKNOWN, None, ALIKE)
    assert shift(definitions("eye")[:30], {}).kind is Kind.UNKNOWN


def test_the_same_seed_gives_the_same_verdict() -> None:
    new, old = definitions("eye"), {"nervous": definitions("nervous")}
    assert shift(new, old, seed=3) == shift(new, old, seed=3)


def test_text_without_words_can_be_compared() -> None:
    assert shift(["1.0 2.0"] * 30, {"numbers": ["3.0"] * 30}).kind is Kind.NONE
    assert shift(["word"] * 30, {"numbers": ["3.0"] * 30}).kind is not Kind.UNKNOWN
