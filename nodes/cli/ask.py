"""``banyan ask``: what the base says, and what the effective model of a scope says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.columns import Columns
from rich.panel import Panel

from nodes.cli.output import AsJson, console, one_sentence, print_json


def ask(
    scope: Annotated[str, typer.Argument(help="The scope, such as /en/healthcare/cardiology.")],
    prompt: Annotated[str, typer.Argument(help="The beginning of a text; the models go on.")],
    state: Annotated[
        Path, typer.Option("--from", help="A node's state folder, or a folder of such folders.")
    ] = Path("runs/demo/nodes"),
    tokens: Annotated[int, typer.Option(min=1, max=1024, help="How many tokens to add.")] = 48,
    json: AsJson = False,
) -> None:
    """Show side by side what the base says and what the effective model of SCOPE says.

    Example: banyan ask /en/healthcare/cardiology "Atrial septal defect is"
    """
    from nodes.serving.ask import answer_from, find_home

    with one_sentence():
        home, config = find_home(state, scope)
        said = answer_from(home, config, prompt, tokens)
        if json:
            print_json({"scope": scope, "prompt": prompt, "version": said.version} | said.texts)
            return
        console.print(
            Columns(
                [
                    Panel(said.texts["base"], title="base", width=console.width // 2 - 1),
                    Panel(
                        said.texts["effective"],
                        title=f"{scope} (version {said.version})",
                        border_style="green",
                        width=console.width // 2 - 1,
                    ),
                ]
            )
        )
