"""The node's own text: read from files, divided into parts, kept within budgets, never sent.

Guarantees: a document stays in the part that a keyed hash gave it; a file that cannot be read is
named; what was taken in survives ``kill -9``, once.

Knows nothing of models, training or other nodes.

Others use ``files`` (``read_texts``, ``write_texts``), ``documents`` (``Budgets``, ``Part``),
``replay_buffer`` (``ReplayBuffer`` and its sizes), ``watched_folder`` (``Arrivals``),
``probe_files`` (``read_probes``, ``write_probes``), ``changes`` (``fingerprint``).
"""
