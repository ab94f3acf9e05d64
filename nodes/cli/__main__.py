"""``python -m nodes.cli``: the command without the experiments, as an edge device has it."""

from nodes.cli.app import app

app()
