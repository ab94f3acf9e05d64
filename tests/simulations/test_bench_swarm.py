"""A small sample of ``banyan bench swarm``: real processes, real links with a limit."""

from __future__ import annotations

import pytest

from nodes.errors import NodeError
from simulations.bench import swarm
from tests.nodes.peers.swarm.members import needs_libtorrent

SIZE = 8_000_000


@needs_libtorrent
@pytest.mark.slow
def test_four_receivers_get_an_artefact_in_both_ways() -> None:
    result = swarm.measure(4, SIZE, 4_000_000)
    rows = {row["case"]: row for row in result["rows"]}
    assert tuple(rows) == swarm.CASES
    assert all(row["receivers"] == 4 for case, row in rows.items() if case in ("swarm", "gRPC"))
    # gRPC alone: the origin sends to each; in a swarm they send to each other.
    assert rows["direct"]["origin_times_size"] == 1
    assert rows["swarm"]["origin_times_size"] < 2 < rows["gRPC alone"]["origin_times_size"] <= 4.2
    assert rows["swarm"]["most_sent_times_size"] > 0.5

    lied_to, killed = rows["swarm, one liar"], rows["swarm, one killed"]
    assert lied_to["receivers"] == 3
    assert lied_to["honest_named_by"] == 0
    assert lied_to["wrong_mb"] < SIZE / 1e6
    assert killed["killed_with_mb"] >= SIZE / 2e6
    assert killed["got_after_mb"] < SIZE / 1e6
    assert len(list(swarm.tables(result))) == 3


def test_an_unknown_case_is_an_error() -> None:
    with pytest.raises(NodeError, match="unknown-case"):
        swarm.measure(4, SIZE, 4_000_000, ["carrier pigeon"])
