"""Write the effective model of a state folder as a PEFT adapter with a model card."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nodes.config.files import load_config
from nodes.errors import NodeError
from nodes.model.base_files import read_json
from nodes.model.basis import from_bytes
from nodes.model.digest import describe_base
from nodes.model.peft_io import WEIGHTS, export_peft
from nodes.serving.held import Held, held, read_state
from nodes.state.artefacts import ArtefactStore
from nodes.state.home import Home
from nodes.state.records import HeldRelease
from protocol import LIMITS, Digest, Envelope, ProbeLoss, Release

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---", re.S)


@dataclass(frozen=True)
class Measured:
    """What the gate of one release measured, nats per token by source."""

    scope: str
    version: int
    losses: Sequence[ProbeLoss]


@dataclass(frozen=True)
class Exported:
    """An exported adapter: where it is, what it is the sum of, and its size in bytes."""

    folder: Path
    held: Held
    base: str
    licence: str | None
    bytes: int


def export(home: Home, to: Path, base_name: str | None = None) -> Exported:
    """Write the effective model of ``home`` into a new folder, whole or not at all.

    Args:
        to: a folder that does not exist or is empty.
        base_name: from where PEFT shall load the base; by default what the base says of itself.

    Raises ``NodeError``: ``not-empty`` where the folder holds something, ``no-release`` when the
    node has no release yet, ``not-written`` where the folder cannot be made.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise NodeError("not-empty", f"{to} is there and not empty: name another folder.")
    here = held(home)
    base = load_config(home.folder / "node.toml").model.base
    name, licence = base_name or _name_of(base), _licence_of(base)
    card = _card(home, here, name, _digest_of(home, base), licence)
    basis = from_bytes(home.basis_file.read_bytes(), home.layout)
    temporary = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        export_peft(temporary, name, home.layout, basis, here.theta)
        (temporary / "README.md").write_text(card, "utf-8")
        size = (temporary / WEIGHTS).stat().st_size
        temporary.replace(to)  # an empty folder is replaced, another refuses
    except OSError as error:
        raise NodeError("not-written", f"{to} cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(to, here, name, licence, size)


def _card(home: Home, here: Held, base: str, digest: Digest, licence: str | None) -> str:
    """Write the model card: what it is, of what it is the sum, what was measured."""
    network = home.network
    front = {"library_name": "peft", "base_model": base, "pipeline_tag": "text-generation"}
    if licence:
        front["license"] = licence
    rows = [
        f"| {link.scope} | {link.version} | {release.kind.value} | {_day(release)} "
        f"| `{link.release}` |"
        for link, release in _releases(home, here.links)
    ]
    personal = (
        [
            "",
            f"A personal device learned {here.learned} times on its own text, and its adapter "
            "is part of this one. No release holds it.",
        ]
        if here.learned
        else []
    )
    return "\n".join(
        [
            "---",
            *(f"{key}: {_yaml(value)}" for key, value in front.items()),
            "tags: [lora, banyan]",
            "---",
            "",
            f"# {network.name}: {home.scope}, version {here.version}",
            "",
            f"A LoRA adapter of rank {network.rank} on {', '.join(network.targets)}: the sum of "
            "the adapters of a chain of scopes, exported from a Banyan network.",
            "",
            "## Base",
            "",
            f"- name: {base}",
            f"- digest: `{digest}`",
            f"- licence: {licence or 'the folder of the base states none'}",
            "",
            "## Lineage",
            "",
            f"Network {network.name}, `{network.network}`.",
            "",
            "| scope | version | made by | on | release |",
            "|---|---|---|---|---|",
            *rows,
            *personal,
            "",
            "## Measurements",
            "",
            *_measurements(measured(home, here.links)),
            "",
        ]
    )


def measured(home: Home, links: Sequence[HeldRelease]) -> list[Measured]:
    """Read what the last gate of each scope of a chain measured.

    Of the scopes above only the installed release is here, of the node's own all are.
    """
    state = read_state(home)
    found = []
    for link, release in _releases(home, links):
        latest = link.version, release.losses
        if state.own.latest is not None and link.release == state.own.latest.release:
            mine = [published.held for _, published in sorted(state.own.published.items())]
            judged = [(x.version, r.losses) for x, r in _releases(home, mine) if r.losses]
            latest = judged[-1] if judged else latest
        found.append(Measured(link.scope, *latest))
    return found


def _measurements(rows: Sequence[Measured]) -> list[str]:
    lines = [
        f"| {row.scope} | {row.version} | {loss.source} | {loss.count} | {loss.before:.3f} "
        f"| {loss.after:.3f} |"
        for row in rows
        for loss in row.losses
    ]
    if not lines:
        return ["No release of this chain was measured by a gate."]
    return [
        "Mean loss of the last gate of each scope on its hidden probes, nats per token, before the "
        "release and with it.",
        "",
        "| scope | version | source | probes | before | after |",
        "|---|---|---|---|---|---|",
        *lines,
    ]


def _releases(home: Home, links: Sequence[HeldRelease]) -> list[tuple[HeldRelease, Release]]:
    """Read the statements of releases, which were verified when they were installed."""
    store = ArtefactStore(home.folder / "artefacts")
    return [
        (link, Release.from_bytes(Envelope.decode(store.get(link.envelope), LIMITS).payload))
        for link in links
    ]


def _digest_of(home: Home, base: Path) -> Digest:
    """Return the base's digest if the folder holds it, else what the network's statement says."""
    network = home.network
    try:
        info = describe_base(base)
    except NodeError:
        return network.base
    return info.digest if info.is_called(network.base, network.tokenizer) else network.base


def _name_of(base: Path) -> str:
    """Return the base's name on a hub if its configuration says one, else its folder's name."""
    try:
        said = read_json(base / "config.json").get("_name_or_path")
    except NodeError:
        said = None
    return said if isinstance(said, str) and _HUB_ID.fullmatch(said) else base.resolve().name


def _licence_of(base: Path) -> str | None:
    """Return the licence that a base's folder states, in its card or in a file of its own."""
    try:
        front = _FRONT_MATTER.match((base / "README.md").read_text("utf-8"))
    except (OSError, ValueError):
        front = None
    said = re.search(r"^license:\s*['\"]?([\w.+-]{1,60})", front[1], re.M) if front else None
    if said:
        return said[1]
    for name in _LICENCES:
        try:
            lines = (base / name).read_text("utf-8").split("\n")
        except (OSError, ValueError):
            continue
        return next((line.strip()[:60] for line in lines if line.strip()), None)
    return None


def _day(release: Release) -> str:
    return datetime.fromtimestamp(release.issued_ms / 1000, UTC).strftime("%Y-%m-%d")


def _yaml(value: Any) -> str:
    return str(value) if re.fullmatch(r"[\w./+-]+", str(value)) else f'"{value}"'
