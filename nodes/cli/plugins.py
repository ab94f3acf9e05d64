"""Add the commands of other packages: the entry points of the group ``banyan.commands``.

An entry names a typer app or a function. It is imported when its command is called, so neither
``banyan --help`` nor a node waits for it, and an entry that cannot be imported costs only its own
command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer

from nodes.cli.output import one_sentence

GROUP = "banyan.commands"

SIMULATIONS = {
    "demo": "Run a whole network on this machine, with a real attacker.",
    "sim": "Simulate whole networks: attacks, failures, scale.",
    "bench": "Run benchmarks against other libraries.",
}
"""Commands of ``simulations`` and their help, known here so that help need not import them."""

OWN_PACKAGES = ("protocol", "aggregation", "nodes")

_LEFT_TO_THE_PLUGIN = {
    "allow_extra_args": True,
    "allow_interspersed_args": False,
    "ignore_unknown_options": True,
}


def installed() -> Iterable[EntryPoint]:
    """Return the entry points of every distribution installed beside this one."""
    return entry_points(group=GROUP)


def add_plugins(app: typer.Typer, entries: Iterable[EntryPoint]) -> None:
    """Add one command for each entry, and for each of ``SIMULATIONS`` that no entry provides.

    The latter are hidden and say what to install. An entry never replaces a command of ``app``.
    """
    own = {group.name for group in app.registered_groups}
    own |= {command.name for command in app.registered_commands}
    by_name = {entry.name: entry for entry in entries if entry.name not in own}
    others = sorted(by_name.keys() - SIMULATIONS.keys())
    for name in (*SIMULATIONS, *others):
        app.command(
            name,
            help=SIMULATIONS.get(name, f"Run {name}, a command of another package."),
            hidden=name not in by_name,
            add_help_option=False,  # the plugin answers --help itself
            context_settings=_LEFT_TO_THE_PLUGIN,
        )(_caller(name, by_name.get(name)))


def _caller(name: str, entry: EntryPoint | None) -> Callable[[typer.Context], None]:
    """Return the function that imports a plugin and hands the command line on to it."""

    def call(context: typer.Context) -> None:
        with one_sentence():
            if entry is None:
                raise _not_installed(name, "a package that provides it")
            command = _load(entry)
            try:
                with command.make_context(name, context.args, parent=context.parent) as inner:
                    command.invoke(inner)
            except ModuleNotFoundError as error:
                if _top(error.name) in {*OWN_PACKAGES, _top(entry.module)}:
                    raise  # not a package that could be installed: a mistake in the code
                raise _not_installed(name, f"the Python package {_top(error.name)}") from None

    return call


def _load(entry: EntryPoint) -> Any:
    """Import what an entry names, as a click command.

    Raises ``NodeError`` ``not-installed`` when a package is missing, ``broken-plugin`` when the
    import fails in another way.
    """
    from nodes.errors import NodeError

    try:
        target = entry.load()
        if not isinstance(target, typer.Typer):
            function, target = target, typer.Typer(add_completion=False)
            target.command(entry.name)(function)
        return typer.main.get_command(target)
    except ModuleNotFoundError as error:
        raise _not_installed(entry.name, f"the Python package {_top(error.name)}") from None
    except Exception as error:
        raise NodeError(
            "broken-plugin",
            f"`banyan {entry.name}` cannot be loaded from {entry.value}: "
            f"{type(error).__name__}: {error}.",
        ) from error


def _not_installed(name: str, package: str) -> Exception:
    from nodes.errors import NodeError

    remedy = "`pip install 'banyan-fl[simulations]'` brings it." if name in SIMULATIONS else ""
    sentence = f"`banyan {name}` needs {package}, which is not installed. {remedy}"
    return NodeError("not-installed", sentence.rstrip())


def _top(module: str | None) -> str:
    return (module or "").partition(".")[0]
