"""Claims about the compiled loops: they find what numpy finds, and nobody needs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation import RULES, Aggregate, Updates, aggregate, blocks, compiled, order
from tests.aggregation.checks import NEEDS
from tests.aggregation.strategies import FAMILIES, problems

SORTING = {"trimmed_mean": order.trimmed_mean, "mean_around_median": order.mean_around_median}


@contextmanager
def loops(used: bool) -> Iterator[None]:
    with patch.object(blocks, "WORTHWHILE", 0 if used else sys.maxsize):
        yield


def by_both(name: str, updates: Updates, f: int) -> tuple[Aggregate, Aggregate]:
    with loops(used=False):
        plain = aggregate(name, updates, f)
    with loops(used=True):
        return plain, aggregate(name, updates, f)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", sorted(RULES))
@settings(max_examples=4)
@given(data=st.data())
def test_compiled_loops_find_what_numpy_finds(name: str, family: str, data: st.DataObject) -> None:
    problem = data.draw(problems([family], widest=200, needs=NEEDS.get(name, (2, 1))))
    plain, looped = by_both(name, problem.updates, problem.f)
    # Sums in float64 may be added up in another order.
    np.testing.assert_array_max_ulp(plain.vector, looped.vector, maxulp=1)
    np.testing.assert_array_equal(plain.weights, looped.weights)


@pytest.mark.parametrize("n", [47, 49, 100, 333])
@pytest.mark.parametrize("name", SORTING)
def test_many_rows_too(name: str, n: int) -> None:
    rng = np.random.default_rng(n)
    rows = list(rng.standard_normal((n, 1001), dtype=np.float32).round(1))
    for f in (0, 1, n // 7, (n - 1) // 2):
        plain, looped = (SORTING[name](rows, f, slice(300, 555), of) for of in (None, compiled))
        np.testing.assert_allclose(plain.centre, looped.centre, rtol=1e-14, atol=1e-14)
        np.testing.assert_array_equal(plain.counts, looped.counts)


def test_rows_of_any_kind(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((9, 500), dtype=np.float32)
    rows.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=rows.shape)
    for name in ("mean", "trimmed_mean"):
        expected, found = by_both(name, Updates([*mapped[:5], *rows[5:]]), 2)
        np.testing.assert_array_equal(found.vector, expected.vector)


def test_they_are_loaded_for_large_work_only() -> None:
    assert blocks.compiled_loops(1000) is None
    assert blocks.compiled_loops(100_000_000) is compiled


def test_nobody_needs_numba() -> None:
    program = """if True:
        import sys
        sys.modules["numba"] = None
        import numpy as np
        from aggregation import Updates, aggregate, blocks
        assert blocks.compiled_loops(blocks.WORTHWHILE) is None
        rows = np.random.default_rng(0).standard_normal((5, 40), dtype=np.float32)
        print(aggregate("trimmed_mean", Updates(rows), 1).vector.tolist())
    """
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    rows = np.random.default_rng(0).standard_normal((5, 40), dtype=np.float32)
    with loops(used=True):
        assert (
            json.loads(ended.stdout) == aggregate("trimmed_mean", Updates(rows), 1).vector.tolist()
        )


def test_a_loop_that_cannot_be_kept_is_compiled_all_the_same() -> None:
    names: dict[str, type[int]] = {}
    exec("def twice(x):\n    return 2 * x", names)  # noqa: S102  a function without a file
    assert compiled.compile_loop(names["twice"])(21) == 42
