"""The README's "Running your own", typed word for word on two machines."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nodes.dashboard.status import StatusReader
from nodes.state.ledger import Ledger
from nodes.state.node_state import NodeState
from tests.machines import Machine, two_addresses, two_machines
from tests.nodes.conftest import PROBES, TEXTS, base

pytestmark = pytest.mark.slow
__all__ = ["base"]  # the fixture

README = Path(__file__).parent.parent / "README.md"
ADDRESSES = ("10.77.0.1", "10.77.0.2")
"""Those in the README, of machine A and machine B."""
LIMIT_S = 240
"""Seconds for one block, or for the release; for a busy machine."""


def blocks() -> list[tuple[str, str]]:
    """The shell blocks of the section, each with the machine that its first line names."""
    text = README.read_text("utf-8")
    section = text.split("## Running your own")[1].split("\n## ")[0]
    found = re.findall(r"```sh\n# machine (.)\n(.*?)```", section, re.DOTALL)
    assert [machine for machine, _ in found] == ["A", "B", "B", "A"]
    return found


@pytest.fixture(params=["namespaces", "loopback"])
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Machine]]:
    with ExitStack() as stack:
        if request.param == "loopback":
            one, two = stack.enter_context(two_addresses(tmp_path))
        else:
            try:
                one, two = stack.enter_context(two_machines(tmp_path, ADDRESSES))
            except OSError as error:
                pytest.skip(str(error))
        yield {"A": one, "B": two}


def test_the_readme_runs_a_network_on_two_machines(
    machines: dict[str, Machine], base: Path
) -> None:
    a, b = machines["A"], machines["B"]
    shutil.copytree(base, a.folder / "models" / "my-base")
    (a.folder / "probes.txt").write_text("\n".join(PROBES), "utf-8")
    (b.folder / "notes.txt").write_text("\n".join(TEXTS), "utf-8")
    (b.folder / "letters.txt").write_text("\n".join(reversed(TEXTS)), "utf-8")
    *before, ask, tree = [
        (machine, script.replace(ADDRESSES[0], a.address).replace(ADDRESSES[1], b.address))
        for machine, script in blocks()
    ]
    for machine, script in before:
        machines[machine].run(script, LIMIT_S)
    until = time.monotonic() + LIMIT_S
    while not arrived(a.folder / "runs" / "en", b.folder / "runs" / "clinic"):
        assert time.monotonic() < until, logs(machines)
        time.sleep(1)
    printed = machines[ask[0]].run(ask[1], LIMIT_S)
    assert "/en (version " in printed
    assert not (b.folder / "models").exists(), "no person copied the base to machine B"
    printed = machines[tree[0]].run(tree[1], LIMIT_S)
    assert all(name in printed for name in ("/en", "clinic", "ward"))


def arrived(parent: Path, device: Path) -> bool:
    """Whether the device has installed a release that a round of its parent made."""
    status = StatusReader(parent).read()
    if not status.releases["round"] or not (device / "ledger.sqlite").exists():
        return False
    with Ledger.open_read_only(device / "ledger.sqlite") as ledger:
        links = NodeState.from_ledger(ledger).above.links
    return bool(links) and links[-1].version == status.version


def logs(machines: dict[str, Machine]) -> str:
    """The ends of what all nodes wrote, for a person."""
    files = [f for m in machines.values() for f in sorted(m.folder.glob("**/node.jsonl"))]
    files += [m.folder / "console.log" for m in machines.values()]
    return "\n".join(f"{file}:\n{file.read_text('utf-8')[-1500:]}" for file in files)
