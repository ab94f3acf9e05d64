"""``banyan node verify``: whether a node's ledger and its artefacts hold together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nodes.cli.find import NodeOption, NodesOption, find, find_config
from nodes.cli.output import AsJson, console, one_sentence, print_json
from nodes.cli.renamed import RenamedOptions

if TYPE_CHECKING:
    from nodes.state.node_state import NodeState
    from nodes.state.retention import Plan
    from protocol import NodeId

app = typer.Typer()


@dataclass(frozen=True)
class Checked:
    """What was found of a node's ledger and artefacts.

    Attributes:
        events: in the ledger. ``checkpoint``: what was found of the last one: ``none``, ``holds``,
            or ``passed over`` (a start does without it).
        damaged: artefacts that do not match their name. ``missing``: what the node needs now and is
            not there.
        kept: artefacts and bytes by the reason for which they stay; ``unneeded``: what goes.
    """

    events: int
    checkpoint: str
    damaged: tuple[str, ...]
    missing: tuple[str, ...]
    kept: dict[str, dict[str, int]]
    unneeded: dict[str, int]


@app.command("verify", cls=RenamedOptions)
def verify(node: NodeOption = None, nodes: NodesOption = Path(), json: AsJson = False) -> None:
    """Check a node's whole ledger, every event against the one before it, and every artefact.

    Ends with status 1 if an artefact is damaged, or missing that the node needs. What was signed is
    fetched again by a running node.

    Example: banyan node verify --node runs/demo/nodes/en
    """
    with one_sentence():
        checked = _checked(find(node, nodes), find_config(node, nodes))
    if json:
        print_json(asdict(checked))
    else:
        console.print(f"{checked.events} events, the chain of digests holds.")
        console.print(f"Checkpoint: {checked.checkpoint}.")
        for why, group in checked.kept.items():
            console.print(f"{group['count']} artefacts, {group['bytes']:,} bytes: {why}.")
        if checked.unneeded["count"]:
            console.print(
                f"{checked.unneeded['count']} artefacts, {checked.unneeded['bytes']:,} bytes: "
                "unneeded, a running node deletes them within an hour or two."
            )
        for what, digests in (("Damaged", checked.damaged), ("Missing", checked.missing)):
            for digest in digests:
                console.print(f"{what}: {digest}")
    if checked.damaged or checked.missing:
        raise typer.Exit(1)


def retention_lines(folder: Path, config: Path) -> list[tuple[str, object]]:
    """Say what of a node's artefacts is kept and why, for ``banyan node status``."""
    if not (folder / "ledger.sqlite").is_file():
        return []
    plan = _plan(folder, config)
    lines = [
        f"{g.why}: {g.count:,} artefacts, {g.bytes:,} bytes" for g in (*plan.groups, plan.spare)
    ]
    if plan.missing:
        lines.append(f"missing: {len(plan.missing)}; see `banyan node verify`")
    return [(f"artefacts: {line.partition(': ')[0]}", line.partition(": ")[2]) for line in lines]


def _checked(folder: Path, config: Path) -> Checked:
    from nodes.errors import NodeError
    from nodes.state import checkpoint
    from nodes.state.artefacts import ArtefactStore
    from nodes.state.ledger import Ledger
    from nodes.state.ledger_files import LedgerFiles
    from nodes.state.node_state import NodeState

    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        events = ledger.verify()
        data = LedgerFiles(folder).checkpoint()
        restored = checkpoint.decode(data) if data else None
        holds = "none" if data is None else "passed over"
        if restored and checkpoint.has(ledger, restored[1]):
            if not _same(restored[0], NodeState.from_ledger(ledger, restored[1].seq)):
                raise NodeError(
                    "broken-checkpoint",
                    f"The checkpoint beside the ledger in {folder} is not what its events say. "
                    "Delete the file ledger.checkpoint; the next start does without it.",
                )
            holds = "holds"
    plan = _plan(folder, config)
    store = ArtefactStore(folder / "artefacts", read_only=True)
    damaged = tuple(digest for digest in store.digests() if not store.intact(digest))
    kept = {g.why: {"count": g.count, "bytes": g.bytes} for g in plan.groups}
    unneeded = {"count": plan.spare.count, "bytes": plan.spare.bytes}
    return Checked(events, holds, damaged, plan.missing, kept, unneeded)


def _same(one: NodeState, other: NodeState) -> bool:
    """Compare states; an old ledger does not say the transport keys, which certificates do."""
    return all(
        getattr(one, part) == getattr(other, part) for part in vars(one) if part != "membership"
    ) and _belonging(one) == _belonging(other)


def _belonging(state: NodeState) -> tuple[tuple[NodeId, ...], ...]:
    members = state.membership
    return members.active, members.suspended, members.revoked


def _plan(folder: Path, config_file: Path) -> Plan:
    from nodes.config.files import load_config
    from nodes.config.sections import RetentionSettings
    from nodes.machine.clock import SystemClock
    from nodes.state import checkpoint
    from nodes.state.artefacts import ArtefactStore
    from nodes.state.home import open_home
    from nodes.state.ledger import Ledger
    from nodes.state.ledger_files import LedgerFiles
    from nodes.state.retention import plan

    home = open_home(folder, None)  # of a membership that lapsed as well
    settings = load_config(config_file).retention if config_file.is_file() else RetentionSettings()
    store = ArtefactStore(folder / "artefacts", read_only=True)
    with Ledger.open_read_only(home.ledger_file) as ledger:
        state = checkpoint.current(ledger, LedgerFiles(folder))
        policy = settings.policy(is_device=home.is_device)
        return plan(state, ledger, store, policy, SystemClock().now_ms())
