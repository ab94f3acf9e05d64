"""``banyan node receipts``: what became of the updates of a node, so that others can check it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from nodes.cli.find import NodeOption, NodesOption, find, open_home_in
from nodes.cli.output import AsJson, console, one_sentence, print_json, read_file

if TYPE_CHECKING:
    from nodes.releases.receipt_files import Checked
    from nodes.state.node_state import NodeState
    from protocol import Digest

app = typer.Typer()

NO_RECEIPT = "no receipt yet"

ExportOption = Annotated[
    Path | None,
    typer.Option(
        "--export",
        metavar="FOLDER",
        help="Write the receipts, the releases and the certificates into a new folder.",
        show_default=False,
    ),
]
CheckOption = Annotated[
    Path | None,
    typer.Option(
        "--check",
        metavar="FOLDER",
        help="Verify receipts that were exported, here or elsewhere.",
        show_default=False,
    ),
]
NetworkOption = Annotated[
    str | None,
    typer.Option(
        "--network",
        metavar="DIGEST",
        help="With --check: the digest of the network's statement, or the file network.env. "
        "Default: that of the node.",
        show_default=False,
    ),
]


@app.command("receipts")
def receipts(
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    export: ExportOption = None,
    check: CheckOption = None,
    network: NetworkOption = None,
    json: AsJson = False,
) -> None:
    """Show what became of each update that a node sent, as its parent signed it.

    With --check it ends with status 1 if a receipt does not verify, or contradicts its release.

    Examples:
      banyan node receipts --node runs/demo/nodes/ward
      banyan node receipts --node runs/demo/nodes/ward --export proof
      banyan node receipts --check proof --network network.env
    """
    with one_sentence():
        if check is not None:
            sound = _check(check, _pinned(network, node, nodes), json)
        else:
            sound = _show(find(node, nodes), export, json)
    if not sound:
        raise typer.Exit(1)


def _show(folder: Path, export: Path | None, json: bool) -> bool:
    from nodes.releases.receipt_files import network_digest, write_receipts
    from nodes.state import checkpoint
    from nodes.state.artefacts import ArtefactStore
    from nodes.state.ledger import Ledger
    from nodes.state.ledger_files import LedgerFiles

    home = open_home_in(folder)
    with Ledger.open_read_only(home.ledger_file) as ledger:
        state = checkpoint.current(ledger, LedgerFiles(folder))
    rows = list(_rows(state))
    if export is not None:
        store = ArtefactStore(folder / "artefacts", read_only=True)
        count = write_receipts(export, home, state, store)
        digest = network_digest(home.network_envelope)
        if json:
            print_json({"folder": str(export), "receipts": count, "network": digest})
            return True
        console.print(f"{count} receipts in {export}.", soft_wrap=True)
        console.print(
            f"To check them: banyan node receipts --check {export} --network {digest}",
            soft_wrap=True,
        )
        return True
    if json:
        print_json(rows)
        return True
    table = Table(box=None, header_style="dim")
    for column in ("sent or signed (UTC)", "round", "update", "fate", "version", ""):
        table.add_column(column)
    for row in rows:
        table.add_row(
            _when(row["at_ms"]),
            str(row["round"]),
            f"{row['update'][:12]}…",
            row["fate"],
            str(row["version"] or "–"),
            "contradicts itself: kept as evidence" if row["contradicts"] else row["code"],
        )
    console.print(table)
    return True


def _rows(state: NodeState) -> Iterator[dict[str, Any]]:
    for update, kept in state.receipts.kept.items():
        yield {
            "update": update,
            "round": kept.round,
            "fate": kept.fate.value,
            "code": kept.code,
            "version": kept.version,
            "contradicts": kept.contradicts or kept.evidence is not None,
            "at_ms": kept.at_ms,
        }
    for update, sent in state.receipts.awaited.items():
        yield {
            "update": update,
            "round": sent.round,
            "fate": NO_RECEIPT,
            "code": "",
            "version": 0,
            "contradicts": False,
            "at_ms": sent.sent_ms,
        }


def _check(folder: Path, pinned: Digest, json: bool) -> bool:
    from nodes.releases.receipt_files import check_receipts

    checked = list(check_receipts(folder, pinned))
    if json:
        print_json([_as_json(each) for each in checked])
    else:
        for each in checked:
            console.print(_sentence(each), soft_wrap=True)
    return all(each.proof is not None and not each.proof.contradiction for each in checked)


def _sentence(checked: Checked) -> str:
    update, proof = f"{checked.update[:12]}…", checked.proof
    if proof is None:
        return f"Update {update}: proves nothing. {checked.refused}"
    if proof.contradiction:
        return f"Update {update}: contradicting-receipt. {proof.contradiction}"
    said, (parent, child) = proof.receipt, checked.path[-2:]
    by = f"by {parent.name} ({parent.scope}, {parent.node[:12]}…)"
    code = f" ({said.code})" if said.code else ""
    where = f", release {said.version} {said.release[:12]}…" if said.version else ""
    when = _when(said.issued_ms)
    return (
        f"Update {update} of {child.name} ({child.node[:12]}…): {said.fate}{code} {by}, "
        f"round {said.round}{where}; signed {when} UTC."
    )


def _as_json(checked: Checked) -> dict[str, Any]:
    proof = checked.proof
    if proof is None:
        return {"update": checked.update, "holds": False, "why": checked.refused}
    said, (parent, child) = proof.receipt, checked.path[-2:]
    return {
        "update": checked.update,
        "holds": not proof.contradiction,
        "why": proof.contradiction,
        "child": {"node": child.node, "name": child.name},
        "parent": {"node": parent.node, "name": parent.name, "scope": str(parent.scope)},
        "fate": said.fate.value,
        "code": said.code,
        "round": said.round,
        "version": said.version,
        "release": said.release,
        "share": said.share,
        "issued_ms": said.issued_ms,
    }


def _pinned(network: str | None, node: str | None, nodes: Path) -> Digest:
    """Return the digest of the network's statement that a person trusts.

    Raises ``NodeError`` ``bad-network``, and what finding the node raises.
    """
    from nodes.errors import NodeError
    from nodes.releases.receipt_files import network_digest
    from protocol import LIMITS, Digest

    if network is None:
        return network_digest(open_home_in(find(node, nodes)).network_envelope)
    if re.fullmatch(r"[0-9a-f]{64}", network):
        return Digest(network)
    if not Path(network).is_file():
        raise NodeError(
            "bad-network", "--network is a digest of 64 digits, or the file network.env of a node."
        )
    return network_digest(read_file(Path(network), "bad-network", LIMITS.envelope_bytes))


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
