"""Claims about what a training run sees."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation import AggregationError
from aggregation.replay import mixture

LONGEST = 9
texts = st.lists(st.integers(1, LONGEST).map(lambda n: "x" * n), min_size=1, max_size=12)
buffers = st.dictionaries(st.sampled_from(["heart", "eye", "skin"]), texts, min_size=1)


@given(texts, buffers, st.integers(0, 400), st.floats(0, 1), st.integers())
def test_the_tokens_keep_to_budget_and_share_by_less_than_a_document(
    new: list[str], buffered: dict[str, list[str]], budget: int, share: float, seed: int
) -> None:
    run = mixture(new, buffered, len, budget=budget, share=share, seed=seed)
    replayed = sum(run.replayed.values())
    assert share * budget - LONGEST < replayed <= share * budget
    assert budget - LONGEST < run.tokens <= budget


@given(texts, buffers, st.integers(0, 400), st.integers())
def test_old_sources_take_part_alike_in_tokens(
    new: list[str], buffered: dict[str, list[str]], budget: int, seed: int
) -> None:
    run = mixture(new, buffered, len, budget=budget, share=0.5, seed=seed)
    tokens = [run.replayed.get(source, 0) for source in buffered]
    assert max(tokens) - min(tokens) <= LONGEST


@given(texts, buffers, st.integers(0, 400), st.integers())
def test_a_document_comes_again_only_after_all_others_of_its_source(
    new: list[str], buffered: dict[str, list[str]], budget: int, seed: int
) -> None:
    numbered = [(i, text) for i, text in enumerate(new)]
    old = {source: list(enumerate(of)) for source, of in buffered.items()}
    run = mixture(numbered, old, lambda d: len(d[1]), budget=budget, share=0.3, seed=seed)
    for source, documents in ((None, numbered), *old.items()):
        seen = Counter(d.document for d in run.drawn if d.source == source)
        times = [seen[document] for document in documents]
        assert max(times) - min(times) <= 1


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    new, old = [f"new {i}" for i in range(40)], {"heart": [f"old {i}" for i in range(40)]}
    runs = [mixture(new, old, len, budget=300, share=0.25, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_replayed_documents_are_spread_over_the_run() -> None:
    run = mixture(["new "] * 9, {"heart": ["old "] * 9}, len, budget=4000, share=0.25, seed=0)
    for start in range(0, len(run.drawn), 40):
        part = run.drawn[start : start + 40]
        assert sum(d.source is not None for d in part) == pytest.approx(len(part) / 4, abs=1)


def test_without_old_text_the_run_is_all_new_and_without_new_text_all_replay() -> None:
    assert mixture(["abc"], {"heart": []}, len, budget=30, share=0.25, seed=0).replayed == {}
    rehearsal = mixture([], {"heart": ["abc"]}, len, budget=30, share=1.0, seed=0)
    assert rehearsal.replayed == {"heart": 30}
    assert mixture([], {}, len, budget=30, seed=0).drawn == ()


def test_documents_without_tokens_are_left_out() -> None:
    assert mixture(["", "ab"], {"heart": [""]}, len, budget=6, share=0.5, seed=0).tokens == 6


@pytest.mark.parametrize(("share", "budget"), [(1.5, 10), (-0.1, 10), (float("nan"), 10), (0, -1)])
def test_a_share_or_a_budget_that_is_none_is_refused(share: float, budget: int) -> None:
    with pytest.raises(AggregationError, match="bad-mixture"):
        mixture(["a"], {}, len, budget=budget, share=share, seed=0)
