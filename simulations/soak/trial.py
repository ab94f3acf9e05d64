"""A root and two devices as three processes of the command line, to do things to and listen to.

Each is started as a person starts it; what it says is what stands on its terminal, in its troubles
or in its log. All of them end with the trial, also when that is killed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.machine.troubles import read_troubles
from nodes.state.home import open_home
from nodes.state.ledger import Ledger
from protocol import Role, Scope
from simulations.datasets import hpo
from simulations.datasets.tiny import tiny_base
from simulations.demo.network import build_network
from simulations.demo.plan import NodePlan
from simulations.processes import ONE_THREAD
from simulations.soak.network import INBOX, SOAK

NAMES = ("root", "one", "two")
SYSTEM = "nervous"
FIRST, EACH = 40, 6
"""Documents of a device at the start, and that arrive at a time."""
FEED_S = 4.0
GRACE_S = 20.0
_SAID = re.compile(r"^([a-z]+(?:-[a-z]+)+): (.+)$")
SCALE = replace(
    SOAK,
    training={"steps": 4, "batch_size": 4, "learning_rate": 2e-2, "max_tokens": 48},
    rounds={**SOAK.rounds, "deadline_s": 60, "resend_s": 15, "retry_s": 1},
)
"""Light, so that a busy machine is no cause of what is heard."""


@dataclass(frozen=True)
class Said:
    """A code and a sentence, and where they stood: terminal, troubles or log."""

    node: str
    where: str
    code: str
    sentence: str


def build(folder: Path) -> Path:
    """Make the network once below ``folder``; trials run on copies. Returns its folder."""
    base = tiny_base(folder / "base")
    texts = hpo.definitions(SYSTEM)
    count = SCALE.probes
    probes = {SYSTEM: texts[-count:]}
    gate = {"gate": {"alpha": 0.5, "each": count}}
    plans = [NodePlan("root", Scope(), Role.ROOT, probes=probes, more=gate)]
    for at, name in enumerate(NAMES[1:]):
        watch = {"data": {"watch": INBOX, "rest_s": 0.5}}
        train = tuple(texts[at:-count:2][:FIRST])
        plans.append(NodePlan(name, Scope(), Role.DEVICE, train=train, more=watch))
    made = folder / "made"
    build_network(made, base, plans, SCALE, f_cardiology=False)
    return made


@dataclass
class Trial:
    """One copy of the network, running.

    Args:
        folder: of the copy; it is replaced.
        environment: what the processes have beside the owner's.
    """

    made: Path
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _consoles: Counter[str] = field(default_factory=Counter)
    _logs: Counter[str] = field(default_factory=Counter)
    _extra: dict[str, dict[str, str]] = field(default_factory=dict)
    _fed: int = FIRST
    _fed_at: float = 0.0

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.made, self.folder)
        for name in NAMES[1:]:
            (self.of(name) / INBOX).mkdir(exist_ok=True)
        self.ids = {n: open_home(self.of(n), SystemClock().now_ms()).id for n in NAMES}
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def of(self, name: str) -> Path:
        """The state folder of a node."""
        return self.folder / name

    def start(self, *names: str, extra: Mapping[str, str] | None = None) -> None:
        """Start the processes of these nodes, with what their environment had before as well."""
        for name in names:
            known = self._extra.setdefault(name, {})
            known.update(extra or {})
            self.processes[name] = self._popen(name, ("node", "run", "--with-parent"), known)

    def command(self, name: str, *words: str) -> int:
        """Run another command about a node; returns its exit status, and notes what it said."""
        process = self._popen(name, words)
        try:
            return process.wait(120)
        finally:
            process.kill()
            process.wait()
            self.listen()

    def _popen(
        self, name: str, words: Sequence[str], extra: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "nodes.cli", *words, "--node", str(self.of(name))]
        environment = {**os.environ, **ONE_THREAD, "COLUMNS": "400", **self.environment}
        # The console lies beside the folder, which may be full, read-only or gone.
        with (self.folder / f"{name}.console").open("ab") as console:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**environment, **(extra or {})},
            )

    def end(self, name: str, sent: signal.Signals = signal.SIGTERM) -> int:
        """End a node and wait until it is gone; returns its exit status."""
        process = self.processes.pop(name)
        process.send_signal(sent)
        return process.wait(60)

    def status_of(self, name: str, limit_s: float) -> int | None:
        """The exit status of a node that is to end by itself; None if it goes on."""
        try:
            return self.processes[name].wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.listen()

    def accepted(self) -> Counter[str]:
        """How many updates of each device the root has accepted."""
        found: Counter[str] = Counter()
        with Ledger.open_read_only(self.of("root") / "ledger.sqlite") as ledger:
            for entry in ledger.events(["update-accepted"]):
                found[entry.body["child"]] += 1
        return Counter({name: found[self.ids[name]] for name in NAMES[1:]})

    def works_after(self, limit_s: float, *names: str) -> float | None:
        """Seconds until the root accepted two more updates of each device named; None: never.

        Two: the first may have been on its way. Text goes on arriving meanwhile.
        """
        started = time.monotonic()
        before = self._accepted_or_none()
        while time.monotonic() - started < limit_s:
            self.watch(0.5)
            now = self._accepted_or_none()
            if before is None:
                before = now
            if now is None or before is None:
                continue
            if all(now[name] >= before[name] + 2 for name in names or NAMES[1:]):
                return time.monotonic() - started
        return None

    def _accepted_or_none(self) -> Counter[str] | None:
        try:
            return self.accepted()
        except (NodeError, OSError):  # just now there is no ledger, or it cannot be read
            return None

    def watch(self, seconds: float) -> None:
        """Let time pass, with text arriving, and listen."""
        until = time.monotonic() + seconds
        while True:
            if time.monotonic() - self._fed_at > FEED_S:
                self._feed()
            self.listen()
            if (left := until - time.monotonic()) <= 0:
                return
            time.sleep(min(0.5, left))

    def _feed(self) -> None:
        texts = hpo.definitions(SYSTEM)[: -SCALE.probes]
        self._fed_at = time.monotonic()
        for at, name in enumerate(NAMES[1:]):
            batch = texts[at::2][self._fed : self._fed + EACH]
            try:
                file = self.of(name) / INBOX / f"{self._fed:05}.txt"
                file.write_text("\n".join(batch), "utf-8")
            except OSError:  # the folder is full, read-only or gone: that is what is tried
                continue
        self._fed += EACH

    def listen(self) -> None:
        """Note what was said since the last time, each sentence once."""
        for name in NAMES:
            for trouble in read_troubles(self.of(name) / "troubles.json"):
                self._note(Said(name, "troubles", trouble.code, trouble.sentence))
            console = self.folder / f"{name}.console"
            for line in self._new(console, self._consoles):
                if match := _SAID.match(line.strip()):
                    self._note(Said(name, "terminal", match[1], match[2]))
                elif line.startswith("Traceback"):
                    self._note(Said(name, "terminal", "traceback", "a traceback"))
            for line in self._new(self.of(name) / "logs" / "node.jsonl", self._logs):
                self._note_log(name, line)

    def _note_log(self, name: str, line: str) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if isinstance(entry, dict) and entry.get("level") in ("warning", "error", "critical"):
            code = str(entry.get("code") or entry.get("event"))
            code = "log" if " " in code else code  # a library's sentence
            why = str(entry.get("why") or entry.get("sentence") or entry.get("event"))
            self._note(Said(name, "log", code, why))

    def _note(self, said: Said) -> None:
        known = {(s.node, s.code) for s in self.said if s.where != "log"}
        if said.where == "log" and (said.node, said.code) in known:
            return
        if not any(
            (s.node, s.where, s.code) == (said.node, said.where, said.code) for s in self.said
        ):
            self.said.append(said)

    @staticmethod
    def _new(file: Path, read_upto: Counter[str]) -> list[str]:
        """The whole lines of a file beyond what was read before."""
        try:
            with file.open("rb") as lines:
                lines.seek(read_upto[str(file)])
                data = lines.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        read_upto[str(file)] += len(whole)
        return whole.decode("utf-8", "replace").splitlines()

    def forget(self) -> None:
        """Forget what was said so far: it is about something else."""
        self.listen()
        self.said.clear()
