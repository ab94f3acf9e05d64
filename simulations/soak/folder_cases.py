"""Failure cases of a state folder: what is lost or damaged in it, and who else is at it."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from nodes.config.files import load_config
from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.state.home import open_home
from nodes.state.ledger import Ledger
from nodes.state.node_state import NodeState
from simulations.soak.case import LISTEN_S, Case, Limits, Row, begin, row, wait
from simulations.soak.hazards import Unavailable
from simulations.soak.trial import Trial

# -- what is stored


def ledger_removed(node: str) -> Case:
    """The ledger of a node is gone when it starts."""

    def case(trial: Trial, limits: Limits) -> Row:
        begin(trial)
        trial.end(node)
        folder = trial.of(node)
        before, version = _artefacts(folder), _version(folder)
        for file in folder.glob("ledger.sqlite*"):
            file.unlink()
        trial.start(node)
        status = trial.status_of(node, 30)
        left = _artefacts(folder)
        note = f"status {status}, artefacts {before} → {left}"
        by = "itself"
        if status is not None:
            code = trial.command(node, "node", "recover", "--all-members")
            note += f", `banyan node recover --all-members` ended with {code}"
            by = "banyan node recover"
            trial.start(node)
        seconds = trial.works_after(limits.recover_s)
        note += f", version {version} → {_version(folder)}"
        done = "stopped, ledger.sqlite removed, started"
        return row(trial, f"ledger of {node} removed", done, seconds, by, note, node)

    return case


def artefact_flipped(node: str) -> Case:
    """One byte of what a node needs is another, while it runs, and after a start."""

    def case(trial: Trial, limits: Limits) -> Row:
        begin(trial)
        folder = trial.of(node)
        with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
            state = NodeState.from_ledger(ledger)
        held = state.above.links[-1] if node != "root" else state.own.latest
        if held is None:
            raise Unavailable("the node holds no release")
        file = folder / "artefacts" / held.adapter[:2] / held.adapter
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        trial.watch(LISTEN_S)
        if trial.processes[node].poll() is None:
            trial.end(node)
        trial.start(node)
        seconds, by = wait(trial, limits, node)
        whole = file.exists() and bytes(data) != file.read_bytes()
        note = f"the artefact is {'whole again' if whole else 'still damaged or gone'}"
        done = "a byte of the adapter it holds was flipped; after a while it was restarted"
        return row(trial, f"artefact flipped at {node}", done, seconds, by, note, node)

    return case


def tls_removed(trial: Trial, limits: Limits) -> Row:
    """A parent's TLS files are gone when it starts."""
    begin(trial)
    trial.end("root")
    shutil.rmtree(trial.of("root") / "tls")
    trial.start("root")
    status = trial.status_of("root", 15)
    seconds, by = wait(trial, limits, "root")
    note = "" if status is None else f"it ended with status {status}"
    done = "stopped, its tls/ folder removed, started"
    return row(trial, "TLS files of root removed", done, seconds, by, note, "root")


# -- processes


def second_daemon(trial: Trial, limits: Limits) -> Row:
    """A second daemon on the folder of a running one."""
    begin(trial)
    first = trial.processes["one"]
    trial.start("one")
    status = trial.status_of("one", 30)
    second, trial.processes["one"] = trial.processes["one"], first
    if status is None:
        second.terminate()
        second.wait()
    note = "both ran" if status is None else f"the second ended with status {status}"
    seconds = trial.works_after(limits.recover_s)
    done = "`banyan node run` once more on its folder"
    return row(trial, "second daemon on one", done, seconds, "itself", note, "one")


def port_taken(trial: Trial, limits: Limits) -> Row:
    """Somebody else listens on a parent's port when it starts."""
    begin(trial)
    trial.end("root")
    downlink = load_config(trial.of("root") / "node.toml").downlink
    if downlink is None:
        raise Unavailable("the root has no downlink")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((downlink.host, downlink.port))
        other.listen()
        trial.start("root")
        status = trial.status_of("root", LISTEN_S)
    seconds, by = wait(trial, limits, "root")
    note = "it waited" if status is None else f"it ended with status {status}"
    done = "another process listened on its port for a while"
    return row(trial, "port of root taken", done, seconds, by, note, "root")


def _artefacts(folder: Path) -> int:
    return sum(1 for file in (folder / "artefacts").glob("??/*") if file.is_file())


def _version(folder: Path) -> int:
    """The version that a node's ledger says it is at: its own, or of its parent at a device."""
    try:
        with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
            state = NodeState.from_ledger(ledger)
    except (NodeError, OSError):  # there is none, or a damaged one
        return 0
    if open_home(folder, SystemClock().now_ms()).is_device:
        return state.above.links[-1].version if state.above.links else 0
    return state.own.version
