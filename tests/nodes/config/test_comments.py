"""A new ``node.toml`` says what can be changed, and what it says is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from nodes.config.comments import COMMENTS, commented
from nodes.config.files import load_config
from nodes.config.sections import NodeConfig

Sections = dict[str, dict[str, Any]]
DEVICE: Sections = {"uplink": {"addresses": ["10.0.0.7:9941"]}, "data": {"train": ["notes.txt"]}}
PARENT: Sections = {
    "downlink": {"host": "0.0.0.0", "port": 9941},
    "data": {"probes": {"a": "p.txt"}},
}
PROPOSED = re.compile(r"^# (\[\w+\]|\w+ = .*)$", re.M)


@pytest.mark.parametrize(("values", "is_device"), [(DEVICE, True), (PARENT, False), ({}, True)])
def test_what_is_written_holds_the_values_and_nothing_else(
    values: Sections, is_device: bool
) -> None:
    text = commented("clinic: device of /en", values, is_device=is_device)
    assert tomllib.loads(text) == values
    assert text.startswith("# clinic: device of /en\n")


@pytest.mark.parametrize(("values", "is_device"), [(DEVICE, True), (PARENT, False)])
def test_every_setting_that_is_proposed_exists_and_has_the_default_that_it_names(
    values: Sections, is_device: bool
) -> None:
    text = commented("x", values, is_device=is_device)
    proposed = tomllib.loads(PROPOSED.sub(r"\1", text))
    config = NodeConfig.model_validate(proposed)
    examples = {(c.section, c.key) for c in COMMENTS if c.example is not None}
    given = NodeConfig.model_validate(values)
    for section, settings in proposed.items():
        if not isinstance(settings, dict):
            continue
        for key in settings:
            if (section, key) not in examples and key not in values.get(section, {}):
                assert getattr(getattr(config, section), key) == getattr(
                    getattr(given, section), key
                ), (section, key)


def test_a_section_can_be_added_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    text = commented("x", PARENT, is_device=False)
    file.write_text(text + "\n[training]\nsteps = 7\n\n[model]\nthreads = 2\n")
    config = load_config(file)
    assert (config.training.steps, config.model.threads) == (7, 2)


def test_each_role_is_told_what_concerns_it() -> None:
    device = commented("x", DEVICE, is_device=True)
    parent = commented("x", PARENT, is_device=False)
    assert "# mode = " in device
    assert "# deadline_s = " not in device
    assert "# deadline_s = " in parent
    assert "# mode = " not in parent
