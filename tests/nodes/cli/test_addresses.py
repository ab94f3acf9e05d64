"""What the commands do with addresses: asked for, detected, kept, and never handed out wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nodes.config.addresses import Address, own_addresses
from nodes.config.files import load_config
from nodes.config.reach import given_addresses
from nodes.machine.troubles import read_troubles
from nodes.state.home import ENDPOINT_FILE
from nodes.text.files import write_texts
from nodes.trust.bundle import Bundle
from tests.nodes.cli.test_find import banyan, code_of
from tests.nodes.conftest import PROBES, TEXTS
from tests.nodes.network import peer
from tests.processes import started

WAIT_S = 60.0


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(base: Path, *options: str) -> list[str]:
    """Make a root in ``root``; the addresses it says."""
    init = ("network", "init", "root", "--base", str(base), "--rank", "4", "--json")
    result = banyan(*init, *options)
    assert result.exit_code == 0, result.stderr
    addresses: list[str] = json.loads(result.stdout)["addresses"]
    return addresses


def requested(name: str = "new") -> str:
    result = banyan("node", "request", name, "--scope", "/", "--device", "--json")
    return str(json.loads(result.stdout)["request"])


def enrolled(*options: str) -> tuple[str, ...]:
    """The addresses in the bundle for a new device."""
    words = ("node", "enrol", "--node", "root", "--request", requested(), "--out", "new.bundle")
    result = banyan(*words, *options)
    assert result.exit_code == 0, result.stderr
    return Bundle.decode(Path("new.bundle").read_bytes()).addresses


def test_a_new_root_listens_everywhere_at_a_port_that_stands_in_its_file(
    here: Path, base: Path
) -> None:
    addresses = made(base)
    downlink = load_config(here / "root" / "node.toml").downlink
    assert downlink is not None
    assert downlink.host == "0.0.0.0"
    assert addresses[0] == f"127.0.0.1:{downlink.port}"
    assert {Address.parse(address).port for address in addresses} == {downlink.port}


@pytest.mark.skipif(not own_addresses(ipv6=False), reason="this machine has no network")
def test_a_child_elsewhere_gets_this_machines_addresses_before_the_root_ever_ran(
    here: Path, base: Path
) -> None:
    made(base)
    handed = [Address.parse(address) for address in enrolled()]
    assert [address.host for address in handed] == list(own_addresses(ipv6=False))[: len(handed)]


def test_names_are_handed_out_as_they_were_asked_for(here: Path, base: Path) -> None:
    made(base, "--port", "29941", "--reached-at", "gateway.example", "--reached-at", "[fd00::7]:1")
    assert enrolled() == ("gateway.example:29941", "[fd00::7]:1")


def test_a_given_address_is_handed_out_and_remembered_for_the_certificate(
    here: Path, base: Path
) -> None:
    made(base, "--host", "127.0.0.1")
    assert enrolled("--address", "VPN.example:1", "--address", "b:2") == ("vpn.example:1", "b:2")
    assert set(given_addresses(peer(here / "root").home)) == {"vpn.example:1", "b:2"}


@pytest.mark.parametrize(
    "address", ["::1:9941", "http://gateway:99999999", "0.0.0.0:1", "[::]:1", "gateway", ""]
)
def test_an_address_that_leads_nowhere_is_refused_and_enrols_nobody(
    here: Path, base: Path, address: str
) -> None:
    made(base, "--host", "127.0.0.1")
    words = ("node", "enrol", "--node", "root", "--request", requested(), "--out", "new.bundle")
    assert code_of(banyan(*words, "--address", address)) == "bad-address"
    assert not Path("new.bundle").exists()
    assert not peer(here / "root").node.state.membership.active


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--host", "no host"), "bad-address"),
        (("--host", "192.0.2.1"), "cannot-listen"),
        (("--reached-at", "https://gateway"), "bad-address"),
        (("--reached-at", "0.0.0.0"), "bad-address"),
    ],
)
def test_a_root_that_nobody_could_reach_is_not_made(
    here: Path, base: Path, options: tuple[str, ...], code: str
) -> None:
    init = ("network", "init", "root", "--base", str(base), "--rank", "4")
    assert code_of(banyan(*init, *options)) == code
    assert not (here / "root").exists()


def test_a_child_that_only_this_machine_could_reach_is_said_to_be(here: Path, base: Path) -> None:
    made(base, "--host", "127.0.0.1")
    words = ("node", "enrol", "--node", "root", "--request", requested(), "--out", "new.bundle")
    assert "Only this machine reaches 127.0.0.1:" in banyan(*words).stdout


# -- processes -----------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def runs(folder: Path) -> list[str]:
    return [sys.executable, "-m", "nodes.cli", "node", "run", "--node", str(folder)]


def connections(device: Path) -> int:
    log = device / "logs" / "node.jsonl"
    return log.read_text("utf-8").count('"uplink-connected"') if log.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("port", ["0", "kept"])
def test_a_root_that_was_killed_is_found_again(here: Path, base: Path, port: str) -> None:
    made(base, "--host", "127.0.0.2")
    root, device = here / "root", here / "device"
    write_texts(root / "probes.jsonl", PROBES)
    config = root / "node.toml"
    text = config.read_text("utf-8") + '[data.probes]\nall = "probes.jsonl"\n'
    if port == "0":  # as earlier versions wrote it
        text = "\n".join("port = 0" if line[:4] == "port" else line for line in text.splitlines())
    config.write_text(text, "utf-8")
    pipe, environment = subprocess.PIPE, os.environ | {"OMP_NUM_THREADS": "1"}

    with started(runs(root), stdout=pipe, stderr=pipe, env=environment) as first:
        wait_for((root / ENDPOINT_FILE).exists, first)
        enrol = ("node", "enrol", "--node", "root", "--new", "device", "--scope", "/", "--device")
        assert banyan(*enrol).exit_code == 0
        write_texts(device / "train.jsonl", TEXTS)
        with (device / "node.toml").open("a", encoding="utf-8") as file:
            file.write('[data]\ntrain = ["train.jsonl"]\n')
        with started(runs(device), stdout=pipe, stderr=pipe, env=environment) as child:
            wait_for(lambda: connections(device) == 1, child)
            first.send_signal(signal.SIGKILL)
            first.wait()
            with started(runs(root), stdout=pipe, stderr=pipe, env=environment) as second:
                wait_for(lambda: connections(device) == 2, second)
                wait_for(lambda: not read_troubles(device / "troubles.json"), second)
                second.terminate()
                assert second.wait(WAIT_S) == 0
            child.terminate()
            assert child.wait(WAIT_S) == 0
