"""``python -m nodes.cli``: the same as ``banyan``."""

from nodes.cli.app import main

main()
