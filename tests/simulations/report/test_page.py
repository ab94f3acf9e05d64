"""Claims about the page as a page: it stands alone, links lead somewhere, names are text."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from matplotlib.figure import Figure

from simulations.records import TopologyRecord
from simulations.report import write_report
from simulations.report.cells import read_cell
from simulations.report.charts import Chart
from simulations.report.tree import tree_chart
from tests.simulations.report import made
from tests.simulations.report.page import Page, page_of

RUNS = [made.byzantine, made.scale, made.forgetting, made.stragglers, made.single]


@pytest.fixture(scope="module", params=RUNS, ids=lambda make: make.__name__)
def html(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of each of the runs, made once."""
    folder = request.param(tmp_path_factory.mktemp("runs") / "run")
    return write_report(folder).html.read_text("utf-8")


def test_a_page_needs_nothing_but_itself(html: str) -> None:
    page = Page(html)
    assert not re.search(r"https?:|@import|url\((?!#)", html)
    assert {
        value for _, name, value in page.attributes if name == "href" and value[0] != "#"
    } == set()
    assert not [tag for tag, name, _ in page.attributes if name in {"src", "srcset", "data"}]
    assert "<link" not in html
    assert "<script" not in html


def test_every_link_of_the_contents_leads_to_a_section(html: str) -> None:
    page = Page(html)
    links = [value[1:] for _, name, value in page.attributes if name == "href"]
    assert links == page.sections


@pytest.mark.slow
def test_a_section_is_there_only_for_records_there_are(tmp_path: Path) -> None:
    assert "attacks" in page_of(made.byzantine(tmp_path / "a")).sections
    calm = page_of(made.single(tmp_path / "b")).sections
    assert "attacks" not in calm
    assert "forgetting" not in calm
    assert "notes" in calm


def drawn(chart: Chart) -> Counter[str]:
    """How many points a chart draws under each label."""
    axes = Figure().subplots()
    chart.draw(axes)
    points: Counter[str] = Counter()
    for line in axes.lines:
        points[str(line.get_label())] += len(np.atleast_1d(line.get_xdata()))
    return points


def test_every_chart_says_in_words_what_it_shows(html: str) -> None:
    page = Page(html)
    charts = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "role")]
    words = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert charts == ["img"] * len(words)
    assert all(words)


def test_charts_do_not_share_what_they_refer_to(html: str) -> None:
    page = Page(html)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    used = {value for _, name, value in page.attributes if name == "xlink:href"}
    assert used <= {f"#{name}" for name in ids}


def test_colours_of_charts_follow_the_page(html: str) -> None:
    page = Page(html)
    styles = [value for tag, name, value in page.attributes if tag != "td" and name == "style"]
    assert any("var(--c0)" in style for style in styles)
    assert not [style for style in styles if "#" in style]


@pytest.mark.slow
def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\"'&<b>"
    toml = f"name = '''{hostile}'''\nquestion = '''{hostile}'''\n"
    folder = made.write_experiment(tmp_path / "run", toml)
    topology = made.tree(1, 1, 1, 4, 0.5)
    for node in topology["nodes"]:
        node["scope"] = node["scope"].replace("cardiovascular", hostile)
    for case in (hostile, "other"):
        records = made.curve(Random(1), topology, 3, kept=1, pace=10)
        for record in records:
            if record["kind"] == "round":
                record["refused"] = {hostile: 2}
                record["outcome"] = hostile
        note = {"kind": "note", "at_s": 1, "what": hostile, "text": hostile}
        matrix = made.matrix(Random(1), 0.1, hostile)
        everything = [topology, *records, note, matrix, made.done(records, topology, 10)]
        made.write_cell(folder, {"case": case, "seed": 0}, {}, everything)
    report = write_report(folder)
    html = report.html.read_text("utf-8")
    Page(html)
    assert "<script" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.slow
def test_attackers_are_counted_and_marked_in_the_tree(tmp_path: Path) -> None:
    folder = made.byzantine(tmp_path / "run")
    page = page_of(folder)
    assert page.row("topology", "nodes")["attackers"] == "36"
    marks = drawn(tree_chart(TopologyRecord.model_validate(made.tree(2, 2, 3, 10, 0.3))))
    assert marks["attacker"] == 36
    assert marks["honest"] == 84 + (1 + 2 + 4 + 12)


def test_a_large_tree_is_drawn_in_part_and_counted_whole(tmp_path: Path) -> None:
    folder = made.single(tmp_path / "run")
    html = write_report(folder).html.read_text("utf-8")
    tree = html[html.index('<section id="topology"') : html.index('<section id="loss"')]
    assert "4 more" in tree
    assert tree.count("<text") - tree.count(">4</text>") <= 44
    assert Page(html).row("topology", "nodes")["device"] == "288"


def test_a_report_written_again_replaces_the_old_one_whole(tmp_path: Path) -> None:
    folder = made.single(tmp_path / "run")
    first = write_report(folder)
    before = [path.read_bytes() for path in (first.html, first.png, first.csv, first.json)]
    again = write_report(folder)
    assert [path.read_bytes() for path in (again.html, again.png, again.csv, again.json)] == before
    names = {path.name for path in folder.iterdir()}
    reports = {"report.html", "report.png", "results.csv", "results.json"}
    assert names == reports | {"experiment.toml", "experiment.json", "cells"}


def test_a_cell_with_many_records_keeps_a_bounded_series(tmp_path: Path) -> None:
    folder = made.write_experiment(tmp_path / "run", 'name = "x"\n')
    topology = made.tree(1, 1, 1, 4, 0)
    records = made.curve(Random(1), topology, 3000, kept=1, pace=1)
    last = made.done(records, topology, 1)
    made.write_cell(folder, {"seed": 0}, {}, [topology, *records, last])
    assert write_report(folder).html.stat().st_size < 150_000


def test_letters_that_no_font_has_and_dollars_do_not_stop_the_picture(tmp_path: Path) -> None:
    folder = made.write_experiment(tmp_path / "run", 'name = "心臓 $x$ \\\\frac"\n')
    topology = made.tree(1, 1, 1, 4, 0)
    for case in ("心臓", "$a_{b$", "$"):
        records = made.curve(Random(1), topology, 3, kept=1, pace=10)
        last = made.done(records, topology, 1)
        made.write_cell(folder, {"case": case, "seed": 0}, {}, [topology, *records, last])
    report = write_report(folder)
    assert report.png.read_bytes().startswith(b"\x89PNG")


def test_a_line_begins_at_the_base(tmp_path: Path) -> None:
    topology = made.tree(1, 1, 1, 4, 0)
    records = [r for r in made.curve(Random(1), topology, 3, kept=1, pace=10) if r["at_s"] > 0]
    everything = [topology, *records, made.done(records, topology, 1)]
    folder = made.write_experiment(tmp_path, 'name = "x"')
    root = read_cell(made.write_cell(folder, {"seed": 0}, {}, everything)).losses["root"]
    assert root.base == pytest.approx(4.22)
    assert root.by_time[0] == root.by_round[0] == (0.0, root.base)
    assert root.by_time[1][0] == 10
