"""Two machines on this one: network namespaces with addresses of their own, or two of loopback.

Each machine has a folder. Commands are run in it and, where the kernel lets us, in its namespace;
``scp`` copies between the folders. What commands leave running is ended by the ids that the shell
told, and the namespaces are deleted, however the block ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

SCP = """#!/bin/sh
for last; do :; done
host="${last%%:*}"
while [ $# -gt 1 ]; do cp "$1" "$MACHINES/$host/${last#*:}"; shift; done
"""
GRACE_S = 20
INNER = ("10.78.0.1", "10.78.0.2")
"""Of the first machine and of the one between, where there is NAT."""


@dataclass(frozen=True)
class Machine:
    """A folder, an address, and the words that a command begins with to run there."""

    folder: Path
    prefix: tuple[str, ...]

    @property
    def address(self) -> str:
        return self.folder.name

    def run(self, script: str, limit_s: float) -> str:
        """Run a shell script that stops at its first failure; returns all that it printed.

        Each line is shown before it runs. Background jobs stay, and are noted.
        """
        noted = self.folder.parent / "pids"
        console = self.folder / "console.log"
        begins_at = console.stat().st_size if console.exists() else 0
        trap = f"trap 'jobs -p >> {noted}' EXIT\n"
        with console.open("ab") as output:
            done = subprocess.run(
                [*self.prefix, "bash", "-evc", trap + script],
                cwd=self.folder,
                env=_environment(self.folder.parent),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=limit_s,
            )
        printed = console.read_bytes()[begins_at:].decode("utf-8", "replace")
        if done.returncode:
            pytest.fail(f"{self.address} stopped with status {done.returncode}:\n{printed}")
        return printed


@contextmanager
def two_machines(folder: Path, addresses: tuple[str, str]) -> Iterator[tuple[Machine, Machine]]:
    """Two namespaces joined by a cable. Raises ``OSError`` where there can be none."""
    names = [f"banyan-{os.getpid()}-{letter}" for letter in "ab"]
    try:
        for name in names:
            _ip("netns", "add", name)
        cable = ("cable", "type", "veth", "peer", "cable", "netns", names[1])
        _ip("-n", names[0], "link", "add", *cable)
        for name, address in zip(names, addresses, strict=True):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", name, "link", "set", device, "up")
        prefixes: list[tuple[str, ...]] = [("ip", "netns", "exec", name) for name in names]
        with _machines(folder, addresses, prefixes) as machines:
            yield machines
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)


@contextmanager
def behind_nat(folder: Path, addresses: tuple[str, str]) -> Iterator[tuple[Machine, Machine]]:
    """Two namespaces with a third between them, through which only the second one's connections go.

    The first has an address more than its own, which the one between uses; ``open_way`` carries its
    ports. Nothing routes to the second. Raises ``OSError`` where there can be no namespaces.
    """
    names = [f"banyan-{os.getpid()}-{letter}" for letter in ("a", "nat", "b")]
    a, nat, b = names
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        for name, cable, other in ((a, "left", nat), (b, "right", nat)):
            _ip("-n", name, "link", "add", "cable", "type", "veth", "peer", cable, "netns", other)
            _ip("-n", name, "link", "set", "cable", "up")
            _ip("-n", other, "link", "set", cable, "up")
        _ip("-n", a, "address", "add", f"{addresses[0]}/32", "dev", "lo")
        _ip("-n", a, "address", "add", f"{INNER[0]}/24", "dev", "cable")
        _ip("-n", nat, "address", "add", f"{INNER[1]}/24", "dev", "left")
        _ip("-n", nat, "address", "add", f"{addresses[0]}/32", "dev", "right")
        _ip("-n", b, "address", "add", f"{addresses[1]}/24", "dev", "cable")
        _ip("-n", b, "route", "add", f"{addresses[0]}/32", "dev", "cable")
        _ip("-n", nat, "route", "add", f"{addresses[1]}/32", "dev", "right")
        prefixes: list[tuple[str, ...]] = [("ip", "netns", "exec", name) for name in (a, b)]
        with _machines(folder, addresses, prefixes) as machines:
            yield machines
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)


@contextmanager
def open_way(address: str, ports: Sequence[int]) -> Iterator[None]:
    """Carry connections to these ports of the first of two machines with NAT between them."""
    relay = Path(__file__).with_name("relay.py")
    words = [sys.executable, str(relay), address, INNER[0], *map(str, ports)]
    in_between = ["ip", "netns", "exec", f"banyan-{os.getpid()}-nat"]
    process = subprocess.Popen([*in_between, *words], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def two_addresses(folder: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two addresses of loopback."""
    with _machines(folder, ("127.0.0.1", "127.0.0.2"), [(), ()]) as machines:
        yield machines


@contextmanager
def _machines(
    folder: Path, addresses: tuple[str, str], prefixes: Sequence[tuple[str, ...]]
) -> Iterator[tuple[Machine, Machine]]:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "scp").write_text(SCP)
    (folder / "bin" / "scp").chmod(0o755)
    one, two = (
        Machine(folder / address, prefix)
        for address, prefix in zip(addresses, prefixes, strict=True)
    )
    one.folder.mkdir()
    two.folder.mkdir()
    try:
        yield one, two
    finally:
        _end(folder / "pids")


def _end(noted: Path) -> None:
    """End the jobs that the shells left: SIGTERM, then SIGKILL."""
    running: list[psutil.Process] = []
    for line in noted.read_text().split() if noted.exists() else ():
        try:
            process = psutil.Process(int(line))
            running += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    for process in running:
        process.terminate()
    for process in psutil.wait_procs(running, timeout=GRACE_S)[1]:
        process.kill()
    psutil.wait_procs(running, timeout=GRACE_S)


def _environment(folder: Path) -> Mapping[str, str]:
    here = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": here, "MACHINES": str(folder), "OMP_NUM_THREADS": "1"}


def _ip(*words: str) -> None:
    """Run iproute2. Raises ``OSError`` when it is absent or may not."""
    if not shutil.which("ip") or os.geteuid() != 0:
        raise OSError("network namespaces need iproute2 and root")
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
