"""An experiment becomes cells: cases × sweep × seeds, each with an id of its settings alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import NodeError
from simulations.experiment import identify, read_experiment
from tests.simulations.runner.cells import SMALL, small

HEAD = 'name = "x"\nquestion = "Why?"\n'


def refusal(text: str, **options: Any) -> str:
    with pytest.raises(NodeError) as caught:
        read_experiment(text, **options)
    assert caught.value.code == "bad-experiment"
    return caught.value.sentence


def test_cells_are_cases_times_sweep_times_seeds_in_the_order_of_the_file() -> None:
    assert [cell.name for cell in small().cells] == [
        "tree, attack.name=none, seed=0",
        "tree, attack.name=none, seed=1",
        "tree, attack.name=sign_flip, seed=0",
        "tree, attack.name=sign_flip, seed=1",
        "flat, attack.name=none, seed=0",
        "flat, attack.name=none, seed=1",
        "flat, attack.name=sign_flip, seed=0",
        "flat, attack.name=sign_flip, seed=1",
    ]


def test_a_cell_says_what_it_varies_and_has_one_seed() -> None:
    cell = small().cells[-1]
    assert cell.vary == {"case": "flat", "attack.name": "sign_flip", "seed": 1}
    assert cell.settings.topology.fan_out == (6,)
    assert cell.settings.attack.name == "sign_flip"
    assert cell.settings.run.seeds == (1,)
    assert cell.seed == 1
    assert cell.cost == 6 * 4


@given(
    st.dictionaries(
        st.sampled_from(["rounds.f", "run.rounds", "model.size", "training.steps"]),
        st.lists(st.sampled_from([16, 32, 48, 64]), min_size=1, max_size=3, unique=True),
        max_size=3,
    ),
    st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
)
def test_the_number_of_cells_is_the_product_and_no_two_are_the_same(
    axes: dict[str, list[int]], seeds: list[int]
) -> None:
    sweep = "\n".join(f'"{path}" = {values}' for path, values in axes.items())
    found = read_experiment(f"{HEAD}topology.fan_out=[4]\nrun.seeds={seeds}\n[sweep]\n{sweep}")
    expected = len(seeds)
    for values in axes.values():
        expected *= len(values)
    assert len(found.cells) == len({cell.id for cell in found.cells}) == expected
    assert len({cell.name for cell in found.cells}) == expected


SETTINGS = {
    "topology.fan_out": [2, 3],
    "attack.name": "alie",
    "rounds.f": 1,
    "run.rounds": 20,
    "model.rank": 16,
    "links.latency_s": 0.05,
}
"""Some are what they are by default."""


@given(st.permutations(list(SETTINGS)), st.data())
def test_an_id_depends_on_nothing_but_the_settings(order: list[str], data: st.DataObject) -> None:
    ways = ["file", "case", "sweep", "override"]
    chosen = {path: data.draw(st.sampled_from(ways), label=path) for path in order}
    by = {way: [p for p in order if chosen[p] == way] for way in ways}
    lines = [f"{path} = {json.dumps(SETTINGS[path])}" for path in by["file"]]
    workers = data.draw(st.integers(0, 4), label="workers")
    name = data.draw(st.text("abc", min_size=1), label="name")
    text = f'name = "{name}"\nquestion = "{name}?"\nrun.workers = {workers}\n' + "\n".join(lines)
    text += "\n[sweep]\n" + "\n".join(f'"{p}" = [{json.dumps(SETTINGS[p])}]' for p in by["sweep"])
    text += f'\n[[case]]\nname = "{name}"\n'
    text += "\n".join(f"{path} = {json.dumps(SETTINGS[path])}" for path in by["case"])
    (cell,) = read_experiment(text, overrides={p: SETTINGS[p] for p in by["override"]}).cells
    plain = "\n".join(f"{path} = {json.dumps(SETTINGS[path])}" for path in SETTINGS)
    (expected,) = read_experiment(HEAD + plain).cells
    assert cell.id == expected.id == identify(cell.settings)


def test_where_a_cell_runs_is_not_in_its_id() -> None:
    (cell,) = read_experiment(f"{HEAD}topology.fan_out = [2, 3]").cells
    (spread,) = read_experiment(
        f'{HEAD}topology.fan_out = [2, 3]\nrun = {{processes = 2, folder = "shared"}}'
    ).cells
    assert spread.id == cell.id


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_an_id_is_the_same_in_every_process(hash_seed: str) -> None:
    say = (
        "from tests.simulations.runner.cells import small; "
        "print(*(cell.id for cell in small().cells))"
    )
    said = subprocess.run(
        [sys.executable, "-c", say],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == [cell.id for cell in small().cells]


@pytest.mark.parametrize("path", ["rounds.f", "run.measure_every", "data.spread", "run.rounds"])
def test_another_setting_gives_another_id(path: str) -> None:
    (cell,) = read_experiment(f"{HEAD}topology.fan_out = [2, 3]").cells
    (other,) = read_experiment(f"{HEAD}topology.fan_out = [2, 3]\n{path} = 7").cells
    assert other.id != cell.id


def test_lists_and_tables_have_readable_names() -> None:
    text = f"""{HEAD}topology.fan_out = [4]
    [sweep]
    "rounds.pipeline" = [["mean"], ["arc", "centred_clipping"]]
    "attack" = [{{name = "none"}}, {{name = "alie", fraction = 0.25}}]
    "rounds.stand_ins" = [true]
    """
    found = read_experiment(text)
    assert found.cells[3].name == (
        "rounds.pipeline=arc centred_clipping, attack=name=alie fraction=0.25, "
        "rounds.stand_ins=true, seed=0"
    )
    assert found.cells[3].settings.attack.fraction == 0.25


def test_dotted_keys_sweep_as_quoted_ones_do() -> None:
    quoted = read_experiment(f'{HEAD}topology.fan_out=[4]\n[sweep]\n"rounds.f" = [0, 1]')
    dotted = read_experiment(f"{HEAD}topology.fan_out=[4]\n[sweep]\nrounds.f = [0, 1]")
    assert [cell.vary for cell in dotted.cells] == [cell.vary for cell in quoted.cells]


# -- overrides


def test_what_is_set_wins_over_the_file() -> None:
    found = small(run__rounds=7, model__size=64)
    assert {cell.settings.run.rounds for cell in found.cells} == {7}


def test_cases_that_what_is_set_makes_the_same_are_refused() -> None:
    said = refusal(SMALL, overrides={"attack.name": "alie", "topology.fan_out": [3]})
    assert "tree, seed=0 and flat, seed=0 have the same settings" in said


def test_a_swept_path_that_is_set_is_swept_no_longer() -> None:
    found = small(attack__name="alie")
    assert [cell.name for cell in found.cells] == [
        "tree, seed=0", "tree, seed=1", "flat, seed=0", "flat, seed=1"
    ]  # fmt: skip
    assert {cell.settings.attack.name for cell in found.cells} == {"alie"}
    assert found.compare == ("case",)


def test_sweeps_and_cases_can_be_set_too() -> None:
    found = small(
        sweep__attack__name=["ipm"], case=[{"name": "one", "run.rounds": 2}], run__seeds=[5]
    )
    assert [cell.name for cell in found.cells] == ["one, attack.name=ipm, seed=5"]
    assert found.cells[0].settings.run.rounds == 2


def test_the_small_version_is_the_quick_table_and_what_is_set_wins_over_it() -> None:
    assert {cell.settings.run.rounds for cell in small(quick=True).cells} == {1}
    assert {cell.settings.run.rounds for cell in small(quick=True, run__rounds=9).cells} == {9}
    assert small(quick=True).quick
    assert not small().quick


def test_a_sweep_that_is_set_is_swept_again_although_the_quick_table_fixes_it() -> None:
    text = SMALL.replace('"run.rounds" = 1', '"attack.name" = "none"')
    assert len(read_experiment(text, quick=True).cells) == 4
    again = {"sweep.attack.name": ["alie", "ipm"]}
    assert len(read_experiment(text, quick=True, overrides=again).cells) == 8


def test_an_entry_of_a_list_can_be_set() -> None:
    text = f"{HEAD}topology.fan_out = [4]\ndevices = [{{speed = 2.0}}]"
    (cell,) = read_experiment(text, overrides={"devices.0.rank": 4}).cells
    assert (cell.settings.devices[0].rank, cell.settings.devices[0].speed) == (4, 2.0)


# -- what is refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "is not valid TOML"),
        ('question = "Why?"\ntopology.fan_out = [2]', "name: Field required"),
        ('name = "a/b"\nquestion = "Why?"\ntopology.fan_out = [2]', "name: String should match"),
        (SMALL.replace("[6]", "[2, 3]"), "have the same settings"),
        (SMALL.replace('["none", "sign_flip"]', '["none", "none"]'), "have the same settings"),
        (SMALL.replace('["none", "sign_flip"]', "[]"), "sweep: no value for attack.name"),
        (SMALL.replace('["none", "sign_flip"]', '"none"'), "sweep.attack.name: Input should be"),
        (SMALL.replace('name = "flat"', 'name = "tree"'), "two cases have the same name"),
        (SMALL.replace('name = "flat"\n', ""), "case.1.name: Field required"),
        (SMALL.replace('"topology.fan_out" = [6]', 'attack.name = "ipm"'), "case flat sets it too"),
        (
            SMALL.replace('compare = ["attack.name"', 'compare = ["rounds.f"'),
            "do not vary in round",
        ),
        (SMALL.replace("[6]", "[0]"), "fan_out.0: Input should be greater than 0 (in flat, attack"),
        (SMALL + "[sweep.rounds]\nf = [-1, 0]\n", "(in tree, attack.name=none, rounds.f=-1 and 3"),
        (SMALL.replace("[quick]", "[quick.x]\ny = 1\n[extra]"), "extra: Extra inputs are not"),
    ],
)
def test_a_mistake_of_the_file_is_refused(text: str, said: str) -> None:
    assert said in refusal(text)


def test_a_mistake_of_some_cells_names_one_of_them_and_how_many_more() -> None:
    said = refusal(SMALL.replace('"sign_flip"]', '"shout"]'))
    assert "there is no attack 'shout'" in said
    assert said.endswith("(in tree, attack.name=shout and 1 more).")


def test_a_quick_version_that_is_not_there_is_refused() -> None:
    assert "quick: there is no small version" in refusal(
        f"{HEAD}topology.fan_out = [2]", quick=True
    )


def test_a_path_that_leads_nowhere_is_refused() -> None:
    assert "leads below a value" in refusal(SMALL, overrides={"name.first": 1})
