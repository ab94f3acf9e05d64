"""What an operator sees of a node, read from its ledger.

Guarantees: reads only, so the node may be running or not; the same figures for every reader.

Knows nothing of processes, links or models.

Others use ``status`` (``StatusReader``, ``Status``, ``Probed``, ``Abstention``) and
``history`` (``history``, ``Entry``).
"""
