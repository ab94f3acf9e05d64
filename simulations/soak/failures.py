"""``banyan sim failures``: what real processes say and do when disks, clocks and people fail them.

A case does one thing to one node of a running network, listens, puts the cause right if only a
person can, and waits until the parent accepts updates of all devices again. The table says what was
done, what the node said first, and whether it went on by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nodes.errors import NodeError
from simulations.processes import Say, terminable
from simulations.soak.case import Case, Limits, Row
from simulations.soak.folder_cases import (
    artefact_flipped,
    ledger_removed,
    port_taken,
    second_daemon,
    tls_removed,
)
from simulations.soak.hazards import Unavailable
from simulations.soak.machine_cases import (
    HOUR_S,
    certificates_end,
    clock_wrong,
    disk_full,
    folder_deleted,
    folder_read_only,
)
from simulations.soak.trial import Trial, build

CASES: Mapping[str, Case] = {
    "disk-full-root": disk_full("root"),
    "disk-full-device": disk_full("one"),
    "clock-back-device": clock_wrong("one", -HOUR_S),
    "clock-ahead-device": clock_wrong("one", HOUR_S),
    "clock-ahead-device-corrected": clock_wrong("one", HOUR_S, corrected=True),
    "clock-back-root": clock_wrong("root", -HOUR_S),
    "clock-ahead-root": clock_wrong("root", HOUR_S),
    "clock-ahead-root-corrected": clock_wrong("root", HOUR_S, corrected=True),
    "ledger-removed-root": ledger_removed("root"),
    "ledger-removed-device": ledger_removed("one"),
    "artefact-flipped-root": artefact_flipped("root"),
    "artefact-flipped-device": artefact_flipped("one"),
    "read-only-root": folder_read_only("root"),
    "read-only-device": folder_read_only("one"),
    "folder-deleted": folder_deleted,
    "second-daemon": second_daemon,
    "port-taken": port_taken,
    "tls-removed": tls_removed,
    "certificates-renewed": certificates_end(
        (200, 150, 150, 200, 200), "certificates renewed over 900 days"
    ),
    "certificates-lapsed": certificates_end((400,), "certificates lapsed: 400 days off"),
}
"""Every case by its name."""


def run_failures(folder: Path, *, only: Iterable[str], recover_s: float, say: Say) -> list[Row]:
    """Try the cases one after another below ``folder``; writes ``failures.json`` and ``.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(only) or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        raise NodeError("usage", f"No case {unknown[0]}; there are {', '.join(CASES)}.")
    rows: list[Row] = []
    with terminable():
        made = folder / "made"
        if not made.exists():
            build(folder)
        for name in names:
            say(f"{name} …")
            with Trial(made, folder / "trial") as trial:
                try:
                    rows.append(CASES[name](trial, Limits(recover_s, folder)))
                except Unavailable as error:
                    rows.append(Row(name, "not tried", (), None, "–", None, str(error)))
            (folder / "failures.json").write_text(_json(rows), "utf-8")
            (folder / "failures.md").write_text(markdown(rows), "utf-8")
    return rows


def markdown(rows: Iterable[Row]) -> str:
    """The table for a document."""
    lines = ["| case | done | said | goes on by | after |", "|---|---|---|---|---|"]
    for row in rows:
        said = "<br>".join(
            f"`{s.code}` ({s.node}, {s.where}): {s.sentence[:160]}" for s in row.said
        )
        done = f"{row.done}; {row.note}" if row.note else row.done
        after = "–" if row.seconds is None else f"{row.seconds:.0f} s"
        cells = (row.case, done, said or "nothing", row.recovered, after)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _json(rows: Iterable[Row]) -> str:
    values: list[dict[str, Any]] = [asdict(row) for row in rows]
    return json.dumps(values, indent=1, ensure_ascii=False)
