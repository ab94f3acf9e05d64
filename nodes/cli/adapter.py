"""``banyan adapter``: adapters as other tools write and read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodes.cli.find import NodeOption, NodesOption, find, find_copy, open_home_in
from nodes.cli.output import AsJson, console, one_sentence, print_json

if TYPE_CHECKING:
    from nodes.model.peft_import import Imported

MUCH = 0.5
"""The share of an adapter's change that may be lost before the command advises against it."""

app = typer.Typer(help="Export and import adapters in PEFT's format.", no_args_is_help=True)


@app.command("export")
def export_adapter(
    scope: Annotated[str, typer.Argument(help="The scope, such as /en/healthcare/cardiology.")],
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="A new or empty folder.")],
    base_name: Annotated[
        str | None,
        typer.Option(
            "--base-name",
            help="From where PEFT shall load the base: a hub id or a folder. "
            "Default: what the base says of itself.",
            show_default=False,
        ),
    ] = None,
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Write the effective model of SCOPE as a PEFT LoRA adapter with a model card.

    The whole chain becomes one adapter, which loads with plain PEFT on the same base. With --node
    of a personal device its own adapter is part of it.

    Example: banyan adapter export /en/healthcare --to exported --nodes runs/demo/nodes
    """
    from nodes.errors import NodeError
    from nodes.serving.export import export
    from protocol import Scope

    with one_sentence():
        folder = find_copy(scope, nodes) if node is None else find(node, nodes)
        home = open_home_in(folder)
        if home.scope != Scope.parse(scope):
            raise NodeError("no-scope", f"The node in {folder} is of {home.scope}, not of {scope}.")
        made = export(home, to, base_name)
        if json:
            print_json(
                {
                    "scope": scope,
                    "folder": str(made.folder),
                    "version": made.held.version,
                    "learned": made.held.learned,
                    "base": made.base,
                    "licence": made.licence,
                    "bytes": made.bytes,
                    "releases": [link.release for link in made.held.links],
                }
            )
            return
        console.print(
            f"{scope}, version {made.held.version}, is in {made.folder} "
            f"({made.bytes / 1e6:.1f} MB, base {made.base}). Its README.md says what is in it.",
            soft_wrap=True,
        )


@app.command("import")
def import_adapter(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder of a PEFT LoRA adapter.")
    ],
    to: Annotated[
        Path,
        typer.Option("--to", metavar="FILE", help="A new file, for `banyan node publish`."),
    ],
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Project a PEFT LoRA adapter into a network's coordinates, and say what that loses.

    Writes a file that `banyan node publish FILE` takes; nothing is released yet. An adapter from
    this network is read back whole. Of one that was trained elsewhere most is lost: its A spans
    other directions. Refused are DoRA, saved embeddings, tied layers and other bases.

    Example: banyan adapter import exported --to adapter.safetensors --node /en
    """
    from nodes.config.files import load_config
    from nodes.errors import NodeError
    from nodes.machine.files import write_file
    from nodes.model.base import outline_base
    from nodes.model.basis import from_bytes
    from nodes.model.layout import Layer, Layout
    from nodes.model.peft_import import import_peft
    from protocol import encode_adapter

    with one_sentence():
        if to.exists():
            raise NodeError("not-empty", f"{to} is there already: name another file.")
        home = open_home_in(find(node, nodes))

        def layers_of_base(names: Sequence[str]) -> tuple[Layer, ...]:
            base = load_config(home.folder / "node.toml").model.base
            return Layout.of_model(outline_base(base), list(names), 1).layers

        basis = from_bytes(home.basis_file.read_bytes(), home.layout)
        imported = import_peft(folder, home.layout, basis, layers_of_base)
        try:
            write_file(to, encode_adapter(imported.theta))
        except OSError as error:
            raise NodeError("not-written", f"{to} cannot be written: {error.strerror}.") from None
        if json:
            layers = {layer.name: layer.share for layer in imported.layers}
            print_json({"file": str(to), "lost": imported.lost, "layers": layers})
            return
        _show(imported, to, home.folder)


def _show(imported: Imported, to: Path, folder: Path) -> None:
    from rich.table import Table

    table = Table("layer", "norm", "lost", "")
    for layer in imported.layers:
        table.add_row(layer.name, f"{layer.norm:.4g}", f"{layer.share:.1%}", layer.why)
    console.print(table)
    advice = (
        " That is most of it: what is left will hardly do what the adapter did. "
        "Train on its texts instead."
        if imported.lost > MUCH
        else ""
    )
    console.print(
        f"{imported.lost:.1%} of the change is lost (Frobenius norm).{advice} "
        f"`banyan node publish {to} --node {folder}` releases what is left.",
        soft_wrap=True,
    )
