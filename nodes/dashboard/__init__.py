"""What an operator sees of a node, and of those below it, read from its state folder.

Guarantees: reads only, so the node may be running or not; the same figures for every reader.

Knows nothing of processes, links or models.

Others use ``status`` (``StatusReader``, ``Status``, ``Probed``, ``Abstention``), ``history``
(``history``, ``Entry``) and ``tree`` (``read_tree``, ``Tree``, ``TreeNode``).
"""
