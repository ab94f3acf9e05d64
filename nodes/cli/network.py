"""``banyan network``: make a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nodes.cli.listening import (
    EVERYWHERE,
    HostOption,
    NamesOption,
    PortOption,
    addresses_of,
    check_listening,
)
from nodes.cli.output import AsJson, console, one_sentence, print_json
from nodes.cli.own_text import ProbesOption, own_text

app = typer.Typer(help="Make a network.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Make a network."""


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(help="The root node's new state folder.")],
    base: Annotated[Path, typer.Option(help="The base: a folder with safetensors and tokenizer.")],
    name: Annotated[str, typer.Option(help="A name for people.")] = "banyan",
    rank: Annotated[int, typer.Option(min=1, help="R, the rank of every adapter.")] = 16,
    target: Annotated[
        list[str] | None, typer.Option(help="Layers an adapter covers, by the end of their name.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the fixed matrices A.")] = 0,
    probes: ProbesOption = None,
    host: HostOption = EVERYWHERE,
    port: PortOption = None,
    reached: NamesOption = None,
    json: AsJson = False,
) -> None:
    """Make a network: its statement, its coordinates, and the root node that signs for it.

    The base is run once before it is accepted; what that showed is printed.

    Example: banyan network init runs/root --base models/smollm2 --name clinics
    """
    from nodes.config.files import write_config
    from nodes.machine.clock import SystemClock
    from nodes.model.coordinates import coordinates_of
    from nodes.model.trial_run import try_base
    from nodes.trust.network import init_network

    with one_sentence():
        check_listening(host, port, reached or ())
        settings = own_text(None, probes)
        trial = try_base(base, rank=rank, targets=target)
        coordinates = coordinates_of(base, rank=rank, targets=target, seed=seed)
        home = init_network(folder, name, coordinates, SystemClock())
        config = write_config(
            home,
            base=base.resolve(),
            host=host,
            port=port,
            names=reached or (),
            settings=settings,
        )
        addresses = addresses_of(home, config)
        made = {
            "network": home.network.network,
            "root": home.id,
            "base": home.network.base,
            "parameters": home.layout.size,
            "config": str(config),
            "addresses": addresses,
            "trial": trial.as_json(),
        }
        if json:
            print_json(made)
            return
        console.print(f"Network {name} {home.network.network[:12]}…")
        console.print(f"  base       {home.network.base[:12]}…")
        for word, sentence in trial.lines():
            console.print(f"    {word:<10} {sentence}", soft_wrap=True)
        console.print(f"  adapter    {home.layout.size:,} parameters, rank {rank}")
        console.print(f"  root node  {folder}", soft_wrap=True)
        console.print(f"  reached at {', '.join(addresses)}", soft_wrap=True)
        console.print("  tolerates  f malicious of N children, where N is at least 3f + 1")
        first = "" if settings else f"Name its probes in {config}, then: "
        console.print(f"{first}banyan node run --node {folder}", soft_wrap=True)
