"""The page on simulations names every setting that an experiment has beside a node's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from simulations.experiment import bundled, read_experiment
from simulations.experiment.settings import (
    Attack,
    Data,
    DeviceKind,
    Event,
    Links,
    Model,
    Run,
    Schedule,
    Settings,
    Strategy,
    Topology,
)

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "simulations.md").read_text("utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "[topology]": Topology,
    "[model]": Model,
    "[data]": Data,
    "[[devices]]": DeviceKind,
    "[links]": Links,
    "[schedule]": Schedule,
    "[schedule] events": Event,
    "[attack]": Attack,
    "[strategy]": Strategy,
    "[run]": Run,
}


def rows() -> str:
    """The lines of tables."""
    return "\n".join(line for line in PAGE.splitlines() if line.startswith("| "))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_has_a_place_in_the_table(section: str) -> None:
    told = "\n".join(line for line in rows().splitlines() if line.startswith(f"| `{section}"))
    missing = [name for name in SECTIONS[section].model_fields if f"{name}`" not in told]
    assert not missing


def test_every_section_of_the_file_is_named() -> None:
    named = [name for name in Settings.model_fields if f"[{name}]" in PAGE or f"[[{name}]]" in PAGE]
    assert named == list(Settings.model_fields)


def test_every_bundled_experiment_is_in_the_table() -> None:
    assert not [name for name in bundled() if f"| `{name}` |" not in PAGE]


def test_the_example_is_an_experiment() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(read_experiment(example).cells) == 8
    assert len(read_experiment(example, quick=True).cells) == 8
