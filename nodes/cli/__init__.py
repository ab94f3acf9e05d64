"""The ``banyan`` command: one file a group of subcommands; ``output`` is how they all speak."""
