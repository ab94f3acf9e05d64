"""A thousand statuses with real keys: kept, handed on, and shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.machine.clock import SystemClock
from nodes.peers.statuses.book import StatusBook
from nodes.peers.statuses.rows import StatusFile
from tests.nodes.peers.statuses.conftest import Thousand
from tests.nodes.peers.statuses.world import reopened


@pytest.mark.slow
def test_a_thousand_statuses_are_verified_handed_on_and_shown(
    thousand: Thousand, tmp_path: Path
) -> None:
    folder = tmp_path / "root"
    shutil.copytree(thousand.folder, folder)
    root = reopened(folder, SystemClock())
    book = StatusBook(root, StatusFile(folder))
    for child, statuses in thousand.by_child.items():
        assert book.take(child, statuses) == []
    rows = book.newest(0)
    assert len(rows) == sum(map(len, thousand.by_child.values())) == 1000
    handed_on = {signed.statement for signed in book.signed(rows)}
    assert handed_on == {s.statement for each in thousand.by_child.values() for s in each}
    # Those above take them in this order: every parent comes before its children.
    seen = {root.home.id}
    for row in rows:
        assert row.parent in seen
        seen.add(row.node)
    book.close()
    root.close()
    shown = CliRunner().invoke(app, ["tree", "--node", str(folder)])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("\n") == 1001
    tree = json.loads(CliRunner().invoke(app, ["tree", "--node", str(folder), "--json"]).stdout)
    languages = tree["tree"]["children"]
    assert len(languages) == 10
    assert all(len(domain["children"]) == 10 for domain in languages[3]["children"])
    assert languages[0]["children"][0]["children"][0]["via"] == ["language-0", "domain-0"]
