"""``banyan ask``: continue a prompt with the base and with the effective model of a scope."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nodes.cli.find import NodeOption, NodesOption, find, find_copy
from nodes.cli.output import AsJson, console, one_sentence, print_json
from nodes.cli.renamed import RenamedNodes

app = typer.Typer()


@app.command("ask", cls=RenamedNodes)
def ask(
    scope: Annotated[str, typer.Argument(help="The scope, such as /en/healthcare/cardiology.")],
    prompt: Annotated[str, typer.Argument(help="The beginning of a text; the models continue it.")],
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    tokens: Annotated[int, typer.Option(min=1, max=1024, help="How many tokens to add.")] = 48,
    json: AsJson = False,
) -> None:
    """Show side by side what the base says and what the effective model of SCOPE says.

    The answer comes from the scope's own node below --nodes, else from a device of the scope;
    --node asks one of them, such as a device that is behind, or a personal device, whose own
    adapter takes part. No node needs to run.

    Example: banyan ask /en/healthcare/cardiology "Atrial septal defect is" --nodes runs/demo/nodes
    """
    from nodes.errors import NodeError
    from nodes.machine.clock import SystemClock
    from nodes.serving.ask import answer_from
    from nodes.state.home import open_home
    from protocol import Scope

    with one_sentence():
        folder = find_copy(scope, nodes) if node is None else find(node, nodes)
        home = open_home(folder, SystemClock().now_ms())
        if home.scope != Scope.parse(scope):
            raise NodeError("no-scope", f"The node in {folder} is of {home.scope}, not of {scope}.")
        answer = answer_from(home, prompt, tokens)
        if json:
            of = {"scope": scope, "version": answer.version, "learned": answer.learned}
            print_json(of | {"prompt": prompt} | answer.texts)
            return
        own = f", and learned {answer.learned} times itself" if answer.learned else ""
        _show(f"{scope} (version {answer.version}{own})", answer.texts)


def _show(title: str, texts: dict[str, str]) -> None:
    from rich.columns import Columns
    from rich.panel import Panel

    width = console.width // 2 - 1
    console.print(
        Columns(
            [
                Panel(texts["base"], title="base", width=width),
                Panel(texts["effective"], title=title, border_style="green", width=width),
            ]
        )
    )
