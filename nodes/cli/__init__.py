"""The ``banyan`` command: one file for each group of subcommands.

Guarantees: a command prints its result to stdout and everything else to stderr, offers ``--json``
where a program may read it, and ends every error with one sentence and exit status 1, a traceback
only with ``--debug``. Nothing that others wrote is read as markup. Libraries that take long to load
are imported inside the commands that need them.

Knows nothing of how a node works: it finds a node, calls one function, and shows what came back.

Others use ``app`` (``app``, to which plugins add their commands) and ``output`` (how every command
speaks).
"""
