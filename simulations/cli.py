"""The ``banyan`` command: what nodes provide, and the demo and the benches beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nodes.cli.app import app
from nodes.cli.output import AsJson, console, errors, one_sentence, print_json

bench = typer.Typer(help="Measure, beside peers, in one run.", no_args_is_help=True)
app.add_typer(bench, name="bench")


@app.command("demo")
def demo(
    quick: Annotated[bool, typer.Option("--quick", help="A tiny model, under 90 seconds.")] = False,
    no_attack: Annotated[
        bool, typer.Option("--no-attack", help="The same network without the attacker.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The demo's folder; it is replaced.")] = Path(
        "runs/demo"
    ),
    json: AsJson = False,
) -> None:
    """Run a whole network here: four tiers, real text, a real attacker, signed releases.

    Examples:
      banyan demo --quick
      banyan demo --no-attack --out runs/calm
    """
    from simulations.demo.run import run_demo

    with one_sentence():
        try:
            report = run_demo(
                out.resolve(),
                quick=quick,
                attack=not no_attack,
                console=errors if json else console,
            )
        except KeyboardInterrupt:
            errors.print("Interrupted; every node was stopped.")
            raise typer.Exit(130) from None
        if json:
            print_json(report)


def main() -> None:
    """Entry point."""
    app()
