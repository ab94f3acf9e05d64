"""Failure cases of the machine: disks, clocks, and certificates that end as time goes on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from simulations.soak.case import LISTEN_S, Case, Limits, Row, begin, row, stop, wait
from simulations.soak.hazards import Clocks, fill, mounted_over, read_only, small_disk
from simulations.soak.trial import NAMES, Trial

SPARE_BYTES = 8_000_000
HOUR_S, DAY_S = 3600, 86_400


# -- disks


def disk_full(node: str) -> Case:
    """No room on the disk of a node, for a while."""

    def case(trial: Trial, limits: Limits) -> Row:
        with small_disk(trial.of(node), SPARE_BYTES) as filler:
            begin(trial)
            fill(filler)
            trial.watch(LISTEN_S)
            while_full = trial.processes[node].poll()
            filler.unlink()
            seconds, by = wait(trial, limits, node)
            made = row(
                trial,
                f"disk full at {node}",
                f"its disk (tmpfs) was filled for {LISTEN_S:.0f} s",
                seconds,
                by,
                "" if while_full is None else f"it ended with status {while_full}",
                node,
            )
            stop(trial)
            return made

    return case


def folder_read_only(node: str) -> Case:
    """A state folder that cannot be written when the node starts."""

    def case(trial: Trial, limits: Limits) -> Row:
        begin(trial)
        trial.end(node)
        with mounted_over(trial.of(node)):
            read_only(trial.of(node), on=True)
            trial.start(node)
            status = trial.status_of(node, 60)
            read_only(trial.of(node), on=False)
            seconds, by = wait(trial, limits, node)
            made = row(
                trial,
                f"folder of {node} read-only",
                "started on a read-only mount; then made writable",
                seconds,
                by,
                f"status at the start {status}",
                node,
            )
            stop(trial)
            return made

    return case


def folder_deleted(trial: Trial, limits: Limits) -> Row:
    """A state folder that a person deletes under the running node."""
    begin(trial)
    kept = trial.folder / "kept"
    shutil.copytree(trial.of("one"), kept)
    shutil.rmtree(trial.of("one"))
    trial.watch(LISTEN_S)
    status = trial.processes["one"].poll()
    if status is None:
        trial.end("one")
    shutil.rmtree(trial.of("one"), ignore_errors=True)
    kept.rename(trial.of("one"))
    trial.start("one")
    seconds = trial.works_after(limits.recover_s)
    note = "it ran on" if status is None else f"it ended with status {status}"
    done = "its folder was deleted while it ran; then put back, and it was started"
    return row(trial, "folder of one deleted", done, seconds, "started again", note, "one")


# -- clocks


def clock_wrong(node: str, seconds: int, *, corrected: bool = False) -> Case:
    """A clock that is an hour wrong, and one that is put right."""

    def case(trial: Trial, limits: Limits) -> Row:
        clocks = Clocks(trial.folder / "clocks")
        begin(trial, {name: clocks.of(name) for name in NAMES})
        clocks.set(node, seconds)
        which = f"{'ahead' if seconds > 0 else 'back'} by {abs(seconds) // 60} minutes"
        done = f"its clock was set {which} (libfaketime)"
        if corrected:
            trial.watch(LISTEN_S)
            clocks.set(node, 0)
            done += f", and right again after {LISTEN_S:.0f} s"
        after, by = wait(trial, limits, node)
        case_ = f"clock of {node} {which}{', corrected' if corrected else ''}"
        return row(trial, case_, done, after, by, node=node)

    return case


def certificates_end(steps: Sequence[int], name: str) -> Case:
    """All nodes are switched off for so many days, on and off again, by their clocks.

    Off, because the clocks of timers run on as they do: nobody here waits an hour for the next
    question whether a membership is due. A running daemon is for the year on a clock of its own.
    """

    def case(trial: Trial, limits: Limits) -> Row:
        clocks = Clocks(trial.folder / "clocks")
        begin(trial, {node: clocks.of(node) for node in NAMES})
        days, taken = 0, list[str]()
        after: float | None = None
        for step in steps:
            stop(trial)
            days += step
            for node in NAMES:
                clocks.set(node, days * DAY_S)
            trial.start(*NAMES)
            after = trial.works_after(limits.recover_s)
            taken.append(f"day {days}: {'never' if after is None else f'{after:.0f} s'}")
            if after is None:
                break
        done = f"all nodes were off for {list(steps)} days by their clocks (libfaketime)"
        return row(trial, name, done, after, "itself", "; ".join(taken), "one")

    return case
