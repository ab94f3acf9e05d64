"""Dotted paths into the tables of a TOML file: ``rounds.pipeline``, ``devices.0.rank``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

Table = dict[str, Any]


class PathError(ValueError):
    """A path that leads nowhere; the message is a sentence."""


def flatten(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its path; tables are gone into, lists are values. An empty table is one."""
    for key, value in table.items():
        path = f"{above}.{key}" if above else key
        if isinstance(value, Mapping) and value:
            yield from flatten(value, path)
        else:
            yield path, value


def put(table: Table, path: str, value: Any) -> None:
    """Set a copy of a value, in place.

    A table is merged into the one that is there; anything else, and an empty table, replaces. A
    part of the path that is a number selects from a list. Raises ``PathError``.
    """
    *above, last = path.split(".")
    if not all((*above, last)):
        raise PathError(f"{path!r} is not a path such as rounds.f")
    place: Any = table
    for key in above:
        place = place.setdefault(key, {}) if isinstance(place, dict) else _item(place, key, path)
    if isinstance(place, list):
        number = _index(place, last, path)
        place[number] = _merged(place[number], value)
    elif isinstance(place, dict):
        place[last] = _merged(place.get(last), value)
    else:
        raise PathError(f"{path} leads below a value that is no table")


def is_within(path: str, above: str) -> bool:
    """Whether a path is another or lies below it."""
    return path == above or path.startswith(f"{above}.")


def overlap(one: str, other: str) -> bool:
    """Whether one path is the other or lies above it: both cannot be set."""
    return is_within(one, other) or is_within(other, one)


def _merged(there: Any, value: Any) -> Any:
    if not (isinstance(there, dict) and isinstance(value, Mapping) and value):
        return deepcopy(value)
    for path, leaf in flatten(value):
        put(there, path, leaf)
    return there


def _item(place: Any, key: str, path: str) -> Any:
    if not isinstance(place, list):
        raise PathError(f"{path} leads below a value that is no table")
    return place[_index(place, key, path)]


def _index(place: list[Any], key: str, path: str) -> int:
    if not (key.isascii() and key.isdigit() and int(key) < len(place)):
        raise PathError(f"{path}: there is no {key} in a list of {len(place)}")
    return int(key)
