"""Settings are checked whole, at the edge, each mistake with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nodes.errors import NodeError
from simulations.attacks import ATTACKS
from simulations.experiment import Experiment, Settings, read_experiment

HEAD = 'name = "x"\nquestion = "Why?"\n'
TREE = "topology.fan_out = [2, 3]\n"


def read(body: str, **options: Any) -> Experiment:
    return read_experiment(HEAD + body, **options)


def refusal(body: str, **options: Any) -> str:
    with pytest.raises(NodeError) as caught:
        read(body, **options)
    assert caught.value.code == "bad-experiment"
    return caught.value.sentence


def test_an_experiment_needs_no_more_than_a_tree() -> None:
    (cell,) = read(TREE).cells
    assert cell.settings == Settings.model_validate({"topology": {"fan_out": [2, 3]}})
    assert cell.settings.topology.device_count == 6


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("topology.fan_out = [2, 0]", "topology.fan_out.1: Input should be greater than 0"),
        ("topology.fan_out = []", "topology.fan_out: Tuple should have at least 1 item"),
        ("topology = {}", "topology: give either fan_out, or scopes and devices"),
        (
            'topology = {fan_out = [2], scopes = ["/en"], devices = {"/en" = 2}}',
            "topology: give either fan_out, or scopes and devices",
        ),
        ('topology = {scopes = ["/en/health"], devices = {"/en/health" = 1}}', "needs /en above"),
        ('topology = {scopes = ["/En"], devices = {"/En" = 1}}', "topology.scopes: A scope is /"),
        ('topology = {scopes = ["/en", "/es"], devices = {"/en" = 1}}', "no device is below /es"),
        ('topology = {scopes = ["/en"], devices = {"/de" = 1}}', "not listed: /de"),
        ('topology = {scopes = ["/en", "/en"], devices = {"/en" = 1}}', "listed twice"),
        (TREE + 'attack.name = "shout"', "attack.name: there is no attack 'shout'; there are none"),
        (TREE + "attack.fraction = 1.0", "attack.fraction: Input should be less than 1"),
        (TREE + "attack.fraction = -0.1", "attack.fraction: Input should be greater than"),
        (TREE + 'attack.name = "backdoor"', "attack.name: backdoor attacks text, and a vector"),
        (TREE + 'attack = {name = "zero", strength = 2.0}', "attack.strength: only scaled_sign"),
        (TREE + 'rounds.pipeline = ["best"]', "rounds.pipeline: There is no rule or step 'best'"),
        (TREE + 'strategy.name = "flower:Best"', "strategy.name: Input should be 'banyan'"),
        (TREE + "devices = []", "devices: Tuple should have at least 1 item"),
        (TREE + "devices = [{share = 0.5}, {share = 0.4}]", "devices: the shares sum to 0.9"),
        (TREE + "devices = [{rank = 32}]", "devices.0.rank: 32 is more than model.rank, 16"),
        (TREE + "devices = [{layers = 0.0}]", "devices.0.layers: Input should be greater than 0"),
        (TREE + "devices = [{speed_spread = 0.5}]", "devices.0.speed_spread: Input should be"),
        (TREE + "devices = [{speed = nan}]", "devices.0.speed: Input should be"),
        (TREE + 'model.kind = "tiny"', "data.source: tiny learns from text: hpo or icd10"),
        (TREE + 'data.source = "hpo"', "data.source: a vector learns from synthetic data"),
        (TREE + "model.size = 100", "model.size: 100 is no multiple of model.rank, 16"),
        (TREE + "data.fan_out = [5]", "data.fan_out: it has 5 devices, the network 6"),
        (
            TREE + 'model.kind = "none/here"\ndata.source = "hpo"',
            "model.kind: none/here is none of vector, tiny",
        ),
        (TREE + "run.seeds = [1, 1]", "run.seeds: a seed is given twice"),
        (TREE + "run.seeds = []", "run.seeds: Tuple should have at least 1 item"),
        (TREE + "run.until_s = inf", "run.until_s: Input should be a finite number"),
        (TREE + "rounds.deadline_s = inf", "rounds.deadline_s: Input should be a finite number"),
        (TREE + "training.seed = 3", "training.seed: in an experiment seeds come from run.seeds"),
        (TREE + 'training.mode = "personal"', "training.mode: in an experiment devices have"),
        (TREE + "colour.red = 1", "colour: Extra inputs are not permitted"),
        (TREE + "rounds.fun = 1", "rounds.fun: Extra inputs are not permitted"),
        (
            TREE + 'schedule.events = [{at_s = 1, kind = "crash", nodes = "device 7"}]',
            "schedule.events.0.nodes: a pattern of names or paths",
        ),
        (
            TREE + 'schedule.events = [{at_s = -1, kind = "burn", nodes = "*"}]',
            "schedule.events.0.at_s: Input should be greater than or equal to 0; "
            "schedule.events.0.kind: Input should be 'arrive'",
        ),
        (
            'topology = {scopes = ["/en"], devices = {"/en" = 3}}\nattack.placement="concentrated"',
            "attack.placement: to be concentrated it needs topology.fan_out",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_place(body: str, said: str) -> None:
    assert said in refusal(body)


def test_every_mistake_is_reported_at_once() -> None:
    said = refusal('topology.fan_out = [0]\nattack.name = "shout"\nrun.rounds = 0')
    assert all(place in said for place in ("topology.fan_out.0:", "attack.name:", "run.rounds:"))


def test_mistakes_between_sections_are_reported_together() -> None:
    said = refusal(TREE + 'devices = [{share = 0.5, rank = 99}]\ndata.source = "hpo"')
    assert all(place in said for place in ("devices.0.rank:", "devices: ", "data.source:"))


def test_every_attack_of_the_library_is_known() -> None:
    for name in ATTACKS:
        assert read(TREE + f'attack.name = "{name}"').cells[0].settings.attack.name == name


def test_devices_have_the_rank_of_the_model_unless_they_say_another() -> None:
    (cell,) = read(
        TREE + "model.rank = 4\ndevices = [{share = 0.5}, {share = 0.5, rank = 2}]"
    ).cells
    assert [device.rank for device in cell.settings.devices] == [4, 2]
    (alone,) = read(TREE + "model.rank = 4").cells
    assert [device.rank for device in alone.settings.devices] == [4]


def test_an_explicit_tree_counts_its_devices() -> None:
    body = 'topology = {scopes = ["/en", "/en/health"], devices = {"/en/health" = 4, "/" = 1}}'
    assert read(body).cells[0].settings.topology.device_count == 5


def test_settings_come_back_from_json_as_they_were() -> None:
    (cell,) = read(TREE + 'gate.kinds = {general = "general"}\nmodel.rank = 8').cells
    told = json.loads(json.dumps(cell.settings.model_dump(mode="json")))
    assert Settings.model_validate(told) == cell.settings
