"""``banyan node take-in``: give a node text, of its operator or shared by a child."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from nodes.cli.find import NodeOption, NodesOption, find_child, find_config
from nodes.cli.output import AsJson, console, one_sentence, print_json
from nodes.cli.renamed import RenamedOptions

app = typer.Typer()


@app.command("take-in", cls=RenamedOptions)
def take_in(
    files: Annotated[
        list[Path] | None, typer.Argument(help=".txt, .md, .jsonl or .csv files.")
    ] = None,
    source: Annotated[
        str, typer.Option(help="What the files are about, in this node's own words.")
    ] = "",
    child: Annotated[
        str,
        typer.Option(
            help="The child that shared them: its whole name, or six characters of its id."
        ),
    ] = "",
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Add files, and what is new in the watched folder, to a node's replay buffer.

    The text never leaves the node; it serves training, rehearsal and probes. A child's text has a
    limit, and `banyan node withdraw` deletes it. The node may be running.

    Examples:
      banyan node take-in shared.jsonl --source heart --child clinic --node runs/cardiology
      banyan node take-in --node /en/healthcare/cardiology --nodes runs
    """
    from nodes.config.files import load_config
    from nodes.errors import NodeError
    from nodes.learning.corpus import StoredCorpus
    from nodes.learning.lesson import arrived
    from nodes.machine.clock import SystemClock
    from nodes.state.home import open_home
    from nodes.text.files import read_texts
    from protocol import NodeId

    with one_sentence():
        if files and not source:
            raise NodeError("usage", "Say with --source what the files are about.")
        config, clock = load_config(find_config(node, nodes)), SystemClock()
        corpus = StoredCorpus(open_home(config.state, clock.now_ms()), config, clock)
        texts = [text for path in files or [] for text in read_texts(path, config.data.column)]
        if config.data.watch is not None and not config.data.watch.is_dir():
            raise NodeError(
                "no-watch-folder", f"The watched folder {config.data.watch} is not there."
            )
        contributor = NodeId(find_child(config.state, child)) if child else None
        taken = corpus.take_in(source, texts, contributor) if texts else None
        scan = corpus.scan()
        result: dict[str, Any] = {
            "files": asdict(taken) if taken else None,
            "watched": arrived(scan) if scan else None,
        }
        if json:
            print_json(result)
            return
        if taken:
            console.print(
                f"{source}: {taken.added} documents are new, {taken.known} were known or empty; "
                f"{taken.evicted} older ones gave way."
            )
        if scan:
            console.print(f"The watched folder: {scan.added} documents are new.")
            for refusal in scan.refused:
                console.print(f"{refusal.code}: {refusal.sentence}")
        if not taken and not scan:
            console.print("Nothing to take in: name files, or a folder as [data] watch.")
