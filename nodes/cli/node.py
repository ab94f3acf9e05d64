"""``banyan node``: the commands about one node, each in the file of its subject."""

from __future__ import annotations

import typer

from nodes.cli import (
    enrol,
    history,
    invite,
    join,
    publish,
    recover,
    rollback,
    run,
    status,
    take_in,
    verify,
)

app = typer.Typer(help="Enrol, run and look at nodes.", no_args_is_help=True)
_SUBJECTS = (
    *(invite, join, enrol, run, status, verify),
    *(history, rollback, recover, publish, take_in),
)
for subject in _SUBJECTS:
    app.add_typer(subject.app)
