"""The experiments that come with the package say what they ask and can be run as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.errors import NodeError
from simulations.attacks import ATTACKS
from simulations.experiment import bundled, first_sentence, load_experiment

NAMES = (
    "byzantine",
    "capture",
    "communication",
    "forgetting",
    "heterogeneity",
    "scale",
    "stragglers",
)


def test_seven_experiments_are_bundled() -> None:
    assert bundled() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_experiment_has_a_question_and_cells_in_both_sizes(name: str) -> None:
    whole, quick = load_experiment(name), load_experiment(name, quick=True)
    assert whole.name == quick.name == name
    assert first_sentence(whole.question).endswith("?")
    assert len(whole.question.split()) > 30
    assert whole.compare

    def cost(cells: tuple[object, ...]) -> int:
        return sum(cell.cost for cell in cells)  # type: ignore[attr-defined]

    assert 0 < len(quick.cells) <= 6
    assert cost(quick.cells) <= cost(whole.cells) / 5 or name == "stragglers"


def test_byzantine_asks_about_every_attack_that_a_loss_shows_with_three_of_ten() -> None:
    cells = load_experiment("byzantine").cells
    attacks = {cell.settings.attack.name for cell in cells}
    assert attacks == {"none", "label_flip", *ATTACKS}
    assert {cell.settings.attack.fraction for cell in cells} == {0.3}
    assert {cell.settings.topology.fan_out for cell in cells} == {(1, 1, 2, 10)}
    assert len({cell.settings.strategy.name for cell in cells}) == 6


def test_capture_has_the_colluders_that_take_a_tree_and_not_a_flat_federation() -> None:
    found = {cell.vary["case"]: cell.settings for cell in load_experiment("capture").cells}
    for case, settings in found.items():
        fan_out, f = settings.topology.fan_out, settings.rounds.f
        assert fan_out is not None
        assert f is not None
        colluders = round(settings.attack.fraction * settings.topology.device_count)
        assert fan_out[-1] >= 3 * f + 1
        taken = (f + 1) ** 2 if len(fan_out) == 2 else f + 1
        assert (colluders >= taken) == case.startswith("tree")


def test_scale_has_a_hundred_a_thousand_and_ten_thousand_devices_below_four_tiers() -> None:
    sizes = [cell.settings.topology for cell in load_experiment("scale").cells]
    assert [size.device_count for size in sizes] == [100, 1000, 10_000]
    assert {len(size.fan_out or ()) for size in sizes} == {4}


def test_stragglers_share_their_devices_and_their_time() -> None:
    cells = load_experiment("stragglers").cells
    assert {cell.settings.topology.device_count for cell in cells} == {40}
    assert {cell.settings.data.fan_out for cell in cells} == {(2, 2, 2, 5)}
    assert {cell.settings.devices[0].speed_spread for cell in cells} == {10}
    assert {cell.settings.run.until_s for cell in cells} == {1800}


def test_an_experiment_of_ones_own_is_named_by_its_path(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\nquestion = "Why?"\ntopology.fan_out = [2]\n'
        'model.kind = "base"\ndata.source = "hpo"\n'
    )
    (cell,) = load_experiment(str(file)).cells
    assert cell.settings.model.kind == str(base)


@pytest.mark.parametrize(
    ("name", "said"),
    [("byzantin", "There is no experiment byzantin. There are byzantine"), ("x.toml", "x.toml")],
)
def test_an_experiment_that_is_not_there_is_refused(name: str, said: str) -> None:
    with pytest.raises(NodeError) as caught:
        load_experiment(name)
    assert caught.value.code == "no-experiment"
    assert said in caught.value.sentence


def test_the_first_sentence_ends_with_its_mark() -> None:
    assert first_sentence("Why? Because. So.") == "Why?"
    assert first_sentence("It is 3.5 long. Yes?") == "It is 3.5 long."
    assert first_sentence("No mark") == "No mark"
