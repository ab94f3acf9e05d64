"""``banyan tree``, as a person types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.peers.statuses.own import OwnStatus
from nodes.state.events import UpdateRefused
from nodes.state.folder_lock import FolderLock
from nodes.state.records import ZERO
from nodes.trust.enrolment import suspend
from protocol import ChildState, Role
from tests.nodes.peers.statuses.world import Signer, World, a_member, a_world

HOUR_MS = 3_600_000


def shown(world: World, *words: str) -> str:
    result = invoked(world, *words)
    assert result.exit_code == 0, result.output
    return result.stdout


def invoked(world: World, *words: str) -> Result:
    return CliRunner().invoke(app, ["tree", "--node", str(world.root.home.folder), *words])


def as_json(world: World, *words: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(shown(world, "--json", *words))
    return read


def line_of(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if f" {name}  " in f" {line}"]
    return line


def seen_as(signer: Signer, state: str, reason: str, since_ms: int, seen_ms: int) -> ChildState:
    return ChildState(
        node=signer.id,
        name=signer.certificate.name,
        state=state,
        reason=reason,
        since_ms=since_ms,
        seen_ms=seen_ms,
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A root with two languages; below ``en`` are a domain with two devices, one of them silent."""
    with a_world(tmp_path) as made:
        now = made.now
        care = made.en.below("care", Role.INTERIOR, now_ms=now)
        clinic, ward = care.below("clinic", now_ms=now), care.below("ward", now_ms=now)
        children = (
            seen_as(clinic, "abstaining", "no-text", now - 2 * HOUR_MS, now),
            seen_as(ward, "refused", "norm-too-large", now - HOUR_MS, now - 600_000),
        )
        statuses = [
            made.en.signed(now, round=12, round_open=True, hidden=4),
            care.signed(now, children=children, way="gateway.example:9941"),
            clinic.signed(now - 12_000, disk_free=0),
        ]
        assert made.book.take(made.en.id, statuses) == []
        assert made.book.take(made.fr.id, [made.fr.signed(now - HOUR_MS)]) == []
        yield made


def test_it_says_of_each_node_what_a_person_wants_to_know(world: World) -> None:
    suspend(world.root, world.fr.id)
    text = shown(world)
    assert "not running: this is what its folder says" in text.splitlines()[0]
    en, care, clinic = (line_of(text, name) for name in ("/en", "/en/care", "clinic"))
    assert "round 12 open" in en
    assert "4 hidden below" in en
    assert "member for 89 d · link for 6 d" in en
    assert "by gateway.example:9941 via en ·" in care
    assert "abstaining: no-text for 2 h" in clinic
    assert "by 10.0.0.7:9941 via en › care" in clinic
    assert "0.0 GB free" in clinic
    assert "stale" not in clinic
    assert "suspended" in line_of(text, "/fr")
    assert "stale" in line_of(text, "/fr")
    ward = line_of(text, "ward")
    assert "refused: norm-too-large for 1 h" in ward
    assert "heard 10 min ago · no status here" in ward


def test_what_a_relay_changed_is_named_with_the_one_by_whom_it_came(world: World) -> None:
    forged = world.en.signed(world.now + 1)
    forged.statement = forged.statement[:-70] + bytes([forged.statement[-70] ^ 1]) + (
        forged.statement[-69:]
    )  # fmt: skip
    world.book.take(world.en.id, [forged])
    said = shown(world).splitlines()[-1]
    assert said.startswith("bad-signature: en handed in a status of its own")
    (refusal,) = as_json(world)["refused"]
    assert (refusal["via"], refusal["via_name"], refusal["count"]) == (world.en.id, "en", 1)


def test_the_depth_is_bounded_and_says_how_many_are_below(world: World) -> None:
    text = shown(world, "--depth", "1")
    assert "… 3 more below" in text
    assert "clinic" not in text
    assert as_json(world, "--depth", "0")["tree"]["children"] == []


def test_json_has_what_the_documentation_says(world: World) -> None:
    read = as_json(world)
    page = (Path(__file__).parents[3] / "docs" / "tree.md").read_text("utf-8")
    top = read["tree"]
    fields = {*read, *top, *top["status"]}
    assert not {field for field in fields if f"`{field}`" not in page}
    en, fr = top["children"]
    assert (en["status"]["scope"], fr["stale"], en["stale"]) == ("/en", True, False)
    care = en["children"][0]
    assert [child["name"] for child in care["children"]] == ["clinic", "ward"]
    assert care["children"][1]["status"] is None
    assert care["children"][1]["reason"] == "norm-too-large"


def test_of_a_running_node_it_shows_what_that_signed_last(world: World) -> None:
    OwnStatus(world.root, world.book, way=lambda: "gateway:1").current()
    a_member(world.root, "new", Role.DEVICE)
    with FolderLock(world.root.home.folder):
        read = as_json(world)
        assert read["running"]
        assert len(read["tree"]["children"]) == 2
    read = as_json(world)
    assert not read["running"]
    assert [child["name"] for child in read["tree"]["children"]] == ["en", "fr", "new"]
    assert read["tree"]["status"]["way"] == "gateway:1"


def test_a_node_without_statuses_shows_its_children_as_it_sees_them(world: World) -> None:
    world.book.close()
    (world.root.home.folder / "statuses.sqlite").unlink()
    world.root.record(
        UpdateRefused(
            child=world.en.id, code="stale", sentence="No.", round=1, update=ZERO, claimed=False
        )
    )
    text = shown(world)
    assert "refused: stale" in line_of(text, "en")
    assert "never heard" in line_of(text, "fr")
    assert not (world.root.home.folder / "statuses.sqlite").exists()


def test_names_that_others_chose_are_no_markup(world: World) -> None:
    evil = world.en.below("[red]evil", now_ms=world.now)
    world.book.take(world.en.id, [evil.signed(world.now)])
    assert "[red]evil" in shown(world)


@pytest.mark.slow
def test_watching_draws_again_until_it_is_interrupted(world: World) -> None:
    command = [sys.executable, "-m", "nodes.cli", "tree", "--watch", "--json"]
    with subprocess.Popen(
        [*command, "--node", str(world.root.home.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout and process.stderr
        drawn = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    assert drawn[0]["now_ms"] < drawn[1]["now_ms"]


def test_where_there_is_no_node_it_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["tree", "--nodes", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith("no-node: ")
