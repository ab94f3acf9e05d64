"""A small sample of what ``banyan bench children`` measures: one parent, five thin children."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from simulations.bench import children as measured

COUNT, ROUNDS = 5, 2
MOST_MB = 400
"""Of the parent by itself; with torch in its process it would be more."""


@pytest.mark.slow
def test_every_child_is_seated_in_every_round_and_the_parent_stays_small(tmp_path: Path) -> None:
    scale = measured.ChildrenScale(counts=(COUNT,), rounds=ROUNDS, settle_s=1)
    (row,) = measured.run(scale, tmp_path, say=lambda _: None)
    assert row["children"] == COUNT
    assert row["outcomes"] == ["released"] * ROUNDS  # so the children followed a chain
    assert row["missing"] == [0] * ROUNDS
    assert row["refused"] == [{}] * ROUNDS
    # They start with their parent, which may listen later; nothing else may go wrong.
    assert set(row["complaints"]) <= {"uplink-down connection-refused"}
    assert 0 < row["settled_mb"] <= row["peak_pss_mb"] < MOST_MB
    assert row["peak_pss_mb"] < row["peak_all_mb"]
    assert row["cpu_ms"] > 0
    console = Console(width=200, record=True)
    for table in measured.tables([row]):
        console.print(table)
    assert "of the child" in console.export_text()
