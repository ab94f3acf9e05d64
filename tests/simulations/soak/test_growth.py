"""Growth is told apart from noise, and text is not counted."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from simulations.soak.growth import disk_bytes, slope
from simulations.soak.policy import REAL_SIZE, real_bytes


def test_a_slope_is_found_under_a_fifth_of_wild_points() -> None:
    rng = random.Random(0)
    points = [(x / 100, 3.0 * x / 100 + rng.gauss(0, 0.01)) for x in range(100)]
    wild = [(x, y + rng.choice((0, 0, 0, 0, 500))) for x, y in points]
    assert slope(wild) == pytest.approx(3.0, abs=0.5)
    assert slope([(x, 7.0) for x, _ in points]) == 0
    assert slope(points[:1]) == 0


def test_text_and_base_are_not_counted_but_a_folder_of_that_name_further_down_is(
    tmp_path: Path,
) -> None:
    for name in (
        "ledger.sqlite",
        "text/a",
        "inbox/b",
        "base/c",
        "replay.sqlite-wal",
        "logs/text/d",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(10))
    assert disk_bytes(tmp_path) == 20


def test_only_vectors_are_weighed_as_real_ones(tmp_path: Path) -> None:
    from nodes.state.artefacts import ArtefactStore

    store = ArtefactStore(tmp_path / "artefacts")
    store.put(b"a statement")
    store.put(bytes(1000))
    assert real_bytes(tmp_path, 1000) == len(b"a statement") + REAL_SIZE
