"""Accept options and arguments by the names they had before ``--node``, with a line that says so.

They are in no help. Delete this file, and the ``cls=`` that name it, when nobody types them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from typer.core import TyperCommand

from nodes.cli.output import errors


class RenamedOptions(TyperCommand):
    """A command that reads ``--at``, ``--from``, ``--config`` and a bare NODE as ``--node``.

    A bare NODE is accepted where the command has no arguments of its own.
    """

    now: ClassVar[dict[str, str]] = {"--at": "--node", "--from": "--node", "--config": "--node"}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replace former names, then parse."""
        ctx.allow_extra_args = not any(p.param_type_name == "argument" for p in self.params)
        super().parse_args(ctx, self._replace(args))
        if ctx.args and (len(ctx.args) > 1 or ctx.params["node"] is not None):
            ctx.fail(f"Got unexpected extra arguments ({' '.join(ctx.args)})")
        if ctx.args:
            ctx.params["node"] = ctx.args.pop()
            _tell(ctx.params["node"], f"--node {ctx.params['node']}")
        return list(ctx.args)

    def _replace(self, args: list[str]) -> list[str]:
        replaced: list[str] = []
        for position, word in enumerate(args):
            if word == "--":
                return replaced + args[position:]
            option, equals, value = word.partition("=")
            if option in self.now:
                _tell(option, self.now[option])
                option = self.now[option]
            replaced.append(option + equals + value)
        return replaced


class RenamedNodes(RenamedOptions):
    """The same for ``ask``, whose ``--from`` was a node's folder or a folder of such folders."""

    now: ClassVar[dict[str, str]] = {"--from": "--nodes"}


def _tell(former: str, now: str) -> None:
    errors.print(f"{former} is called {now} now.", soft_wrap=True)
