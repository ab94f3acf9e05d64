"""``banyan node``: the commands about one node, each in the file of its subject."""

from __future__ import annotations

import typer

from nodes.cli import (
    enrol,
    history,
    invite,
    join,
    publish,
    receipts,
    recover,
    rollback,
    run,
    status,
    suspend,
    take_in,
    verify,
)

app = typer.Typer(help="Enrol, run and look at nodes.", no_args_is_help=True)
SUBJECTS = (
    *(invite, join, enrol, suspend, run, status, verify),
    *(history, rollback, recover, publish, take_in, receipts),
)
for subject in SUBJECTS:
    app.add_typer(subject.app)
