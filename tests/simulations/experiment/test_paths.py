"""Dotted paths reach into tables and lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.experiment.paths import PathError, Table, flatten, overlap, put

KEYS = st.text("abc", min_size=1, max_size=2)
TABLES = st.recursive(
    st.dictionaries(KEYS, st.integers() | st.lists(st.integers()), min_size=1, max_size=3),
    lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    max_leaves=6,
)


@given(TABLES)
def test_putting_every_value_of_a_table_at_its_path_gives_the_table(table: Table) -> None:
    again: Table = {}
    for path, value in flatten(table):
        put(again, path, value)
    assert again == table


@given(TABLES, TABLES)
def test_a_table_is_merged_into_the_one_that_is_there(one: Table, other: Table) -> None:
    try:
        merged: Table = {"at": {}}
        for path, value in flatten({"at": one}):
            put(merged, path, value)
        put(merged, "at", other)
    except PathError:
        return  # a value here is a table there
    found = dict(flatten(merged["at"]))
    assert all(found[path] == value for path, value in flatten(other))


def test_a_list_is_entered_by_number_and_copied() -> None:
    kept = [{"rank": 16}, {"rank": 8}]
    table: Table = {}
    put(table, "devices", kept)
    put(table, "devices.1.rank", 4)
    assert table == {"devices": [{"rank": 16}, {"rank": 4}]}
    assert kept[1] == {"rank": 8}


def test_an_empty_table_replaces() -> None:
    table: Table = {"topology": {"devices": {"/en": 3}}}
    put(table, "topology.devices", {})
    assert table == {"topology": {"devices": {}}}


@pytest.mark.parametrize("path", ["", "a.", "n.x", "l.2", "l.x", "l.-1", "n.x.y"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        put({"n": 1, "l": [1, 2]}, path, 0)


def test_paths_overlap_when_one_lies_within_the_other() -> None:
    assert overlap("attack", "attack.name")
    assert overlap("attack.name", "attack.name")
    assert not overlap("attack.name", "attack.fraction")
    assert not overlap("attack", "attacker")
