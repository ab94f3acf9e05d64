"""Joining with one line, by a device behind NAT: everything over connections that it opened."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nodes.config.files import load_config
from nodes.dashboard.status import StatusReader
from nodes.machine.clock import SystemClock
from nodes.peers.circle.book import CircleBook
from nodes.peers.joining.token import JoinToken
from nodes.state.home import open_home
from nodes.state.ledger import Ledger
from nodes.state.node_state import NodeState
from protocol import CircleMember
from tests.machines import Machine, behind_nat, open_way, two_addresses
from tests.nodes.conftest import PROBES, TEXTS, base

pytestmark = pytest.mark.slow
__all__ = ["base"]  # the fixture

ADDRESSES = ("10.77.0.1", "192.168.77.2")
LIMIT_S = 240


@pytest.fixture(params=["namespaces", "loopback"])
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    with ExitStack() as stack:
        if request.param == "loopback":
            yield stack.enter_context(two_addresses(tmp_path))
            return
        try:
            yield stack.enter_context(behind_nat(tmp_path, ADDRESSES))
        except OSError as error:
            pytest.skip(str(error))


def ports_of(folder: Path) -> list[int]:
    """The ports at which a node is reached: Flower's link, and those of its peer service."""
    kept = json.loads((folder / "peer-ports.json").read_text())
    downlink = load_config(folder / "node.toml").downlink
    assert downlink is not None
    return [downlink.port, kept["port"], kept["door"]]


def wait_for(condition: Callable[[], object], machines: tuple[Machine, Machine]) -> None:
    until = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until, "\n".join(
            f"{file}:\n{file.read_text('utf-8')[-1500:]}"
            for machine in machines
            for file in sorted(machine.folder.glob("**/node.jsonl"))
        )
        time.sleep(0.5)


def installed(parent: Path, device: Path) -> bool:
    """Whether the device holds a release that a round of its parent made."""
    status = StatusReader(parent).read()
    if not status.releases["round"] or not (device / "ledger.sqlite").exists():
        return False
    with Ledger.open_read_only(device / "ledger.sqlite") as ledger:
        links = NodeState.from_ledger(ledger).above.links
    return bool(links) and links[-1].version >= 2


def circle_of(device: Path) -> tuple[CircleMember, ...]:
    """The members of a device's circle, as its parent listed them last."""
    clock = SystemClock()
    return CircleBook(open_home(device, clock.now_ms()), clock.now_ms).present()


def refused(machine: Machine, token: str, folder: str) -> str:
    """Try to join; return the code with which that is refused."""
    script = f"banyan node join {token} runs/{folder} --text notes.txt 2>&1 && exit 1 || true"
    printed = machine.run(script, LIMIT_S)
    said = [line for line in printed.splitlines() if ": " in line and not line.startswith("banyan")]
    return said[-1].partition(": ")[0]


def test_a_device_behind_nat_joins_with_a_token(
    machines: tuple[Machine, Machine], base: Path
) -> None:
    a, b = machines
    shutil.copytree(base, a.folder / "base")
    (a.folder / "probes.txt").write_text("\n".join(PROBES), "utf-8")
    (b.folder / "notes.txt").write_text("\n".join(TEXTS), "utf-8")
    host = "0.0.0.0" if a.prefix else a.address
    a.run(
        f"banyan network init runs/root --base base --host {host} --probes probes.txt\n"
        "banyan node run --node runs/root &\n"
        "banyan node invite --node runs/root --scope /en > en.token\n"
        f"banyan node join $(cat en.token) runs/en --host {host} --probes probes.txt &\n"
        "until banyan node approve en --node runs/root; do sleep 1; done\n"
        "wait %2\n"
        "banyan node run --node runs/en &\n"
        "banyan node invite --node runs/en --device > clinic.token\n"
        "banyan node invite --node runs/en --device --hours 0.0005 > late.token\n",
        LIMIT_S,
    )
    root, tier, device = a.folder / "runs/root", a.folder / "runs/en", b.folder / "runs/clinic"
    token = (a.folder / "clinic.token").read_text().strip()
    with ExitStack() as stack:
        if a.prefix:
            ports = [*ports_of(root), *ports_of(tier)]
            stack.enter_context(open_way(a.address, ports))
        wait_for(lambda: "circle-open" in (tier / "logs/node.jsonl").read_text(), machines)
        changed = token[:-1] + ("A" if token[-1] != "A" else "B")
        assert refused(b, changed, "changed") == "bad-token"
        late = (a.folder / "late.token").read_text().strip()
        ends_ms = JoinToken.decode(late).expires_ms
        wait_for(lambda: SystemClock().now_ms() > ends_ms, machines)
        assert refused(b, late, "late") == "token-expired"
        b.run(
            f"banyan node join {token} runs/clinic --text notes.txt\n"
            "banyan node run --node runs/clinic &\n",
            LIMIT_S,
        )
        assert (device / "base").is_dir(), "nobody copied the base to the second machine"
        assert refused(b, token, "another") == "token-used"
        wait_for(lambda: installed(tier, device), machines)
        assert StatusReader(tier).read().accepted >= 1
        if a.prefix:
            (member,) = circle_of(device)
            assert not member.addresses, "who is behind NAT cannot be dialled"
        else:
            wait_for(lambda: circle_of(device)[0].addresses, machines)
        wait_for(lambda: "clinic" in a.run("banyan tree --node runs/root", LIMIT_S), machines)
