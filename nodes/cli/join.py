"""``banyan node join``: become a member, with a token or with a bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodes.cli.listening import EVERYWHERE, HostOption, NamesOption, PortOption, check_listening
from nodes.cli.output import AsJson, console, errors, one_sentence, print_json, read_file
from nodes.cli.own_text import ProbesOption, TextOption, own_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from nodes.peers.joining.token import JoinToken
    from nodes.state.home import Home

app = typer.Typer()


@app.command("join")
def join_(
    ticket: Annotated[
        str,
        typer.Argument(
            metavar="TOKEN|FOLDER",
            help="The token from `banyan node invite`, or the folder in which a request was made.",
            show_default=False,
        ),
    ],
    place: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]|BUNDLE",
            help="With a token: the new node's folder, by default one of its name here. "
            "With a folder: the bundle from the parent's operator.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="With a token: a name for people; default: the folder's.")
    ] = "",
    base: Annotated[
        Path | None,
        typer.Option(
            help="The network's base, if it is on this machine. Default: from the parent."
        ),
    ] = None,
    text: TextOption = None,
    probes: ProbesOption = None,
    host: HostOption = EVERYWHERE,
    port: PortOption = None,
    reached: NamesOption = None,
    json: AsJson = False,
) -> None:
    """Become a member with a token, or with the bundle that the parent's operator signed.

    With a token everything comes from the parent: certificates, coordinates, base. Interrupted,
    the same command goes on where it was.

    Examples:
      banyan node join banyan-ERq4… --text notes.txt
      banyan node join runs/clinic clinic.bundle --text notes.txt
    """
    from nodes.errors import NodeError
    from nodes.peers.joining.token import PREFIX, JoinToken

    with one_sentence():
        token = None
        if ticket.startswith(PREFIX) or place is None:  # a bundle would have its own place
            token = JoinToken.decode(ticket)
        elif name:
            raise NodeError("usage", "A name stands in the request already; leave out --name.")
        check_listening(host, port, reached or ())
        wishes: dict[str, Any] = {
            "base": base.resolve() if base else None,
            "host": host,
            "port": port,
            "names": reached or (),
            "settings": own_text(text, probes),
        }
        if token is not None:
            home, config = _with_token(token, place, name, wishes)
        else:
            assert place is not None  # noqa: S101  else it was read as a token
            home, config = _with_bundle(Path(ticket), place, wishes)
        if json:
            print_json({"node": home.id, "config": str(config)})
            return
        console.print(f"Joined as {home.certificate.name}: {config}", soft_wrap=True)
        if token is not None:
            console.print(_next(home, config), soft_wrap=True)


def _with_bundle(folder: Path, bundle: Path, wishes: dict[str, Any]) -> tuple[Home, Path]:
    from nodes.config.files import write_config
    from nodes.machine.clock import SystemClock
    from nodes.machine.files import nothing_left
    from nodes.trust.bundle import MAX_BUNDLE_BYTES
    from nodes.trust.enrolment import join

    data = read_file(bundle, "no-bundle", MAX_BUNDLE_BYTES)
    with nothing_left(folder):
        home, addresses = join(folder, data, SystemClock())
        return home, write_config(home, uplink=addresses, **wishes)


def _with_token(
    token: JoinToken, folder: Path | None, name: str, wishes: dict[str, Any]
) -> tuple[Home, Path]:
    from nodes.machine.clock import SystemClock
    from nodes.peers.joining.join import Wishes, join_with_token
    from nodes.peers.joining.means import means

    folder = folder or Path(name or token.name or token.usual_name)
    watcher, clock = _Told(folder), SystemClock()
    try:
        joined = join_with_token(
            folder, token, Wishes(name=name, **wishes), means(clock), clock, watcher
        )
    except KeyboardInterrupt:
        watcher.close()
        errors.print(
            f"Interrupted. What is in {folder} stays; the same command goes on.", soft_wrap=True
        )
        raise
    finally:
        watcher.close()
    return joined.home, joined.config


def _next(home: Home, config: Path) -> str:
    """Say what a person does next."""
    from nodes.config.files import load_config

    data, run = load_config(config).data, f"banyan node run --node {home.folder}"
    if home.is_device and not (data.train or data.watch):
        return f"Name its text in {config} ([data] train or watch), then: {run}"
    if not home.is_device and not data.probes:
        return f"Name its probes in {config} ([data.probes]), then: {run}"
    return f"Next: {run}"


class _Told:
    """Says on stderr how far the joining is: a bar on a terminal, else a line for each quarter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bars: Progress | None = None
        self._bar: dict[str, TaskID] = {}
        self._quarters: dict[str, int] = {}

    def step(self, sentence: str) -> None:
        """See ``nodes.peers.joining.join.Watcher``."""
        self.close()
        errors.print(sentence, soft_wrap=True)

    def waits(self) -> None:
        """See ``Watcher``."""
        errors.print(
            "The parent waits for a person to approve this node. Ctrl-C is harmless: "
            f"{self._folder} stays, and the same command goes on.",
            soft_wrap=True,
        )

    def arrives(self, what: str, done: int, total: int) -> None:
        """See ``Watcher``."""
        if sys.stderr.isatty():
            self._draw(what, done, total)
            return
        quarter = 4 * done // max(total, 1)
        if quarter > self._quarters.get(what, 0):
            self._quarters[what] = quarter
            errors.print(f"{what}: {25 * quarter} % of {total:,} bytes", soft_wrap=True)

    def close(self) -> None:
        """Leave the bars as they are."""
        if self._bars is not None:
            self._bars.stop()
            self._bars, self._bar = None, {}

    def _draw(self, what: str, done: int, total: int) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TransferSpeedColumn,
        )

        if self._bars is None:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=errors,
            )
            self._bars.start()
        if what not in self._bar:
            self._bar[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._bar[what], completed=done, total=total)
