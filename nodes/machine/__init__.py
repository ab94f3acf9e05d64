"""The machine: time, randomness, processors, memory, logs, safe writing of files.

Guarantees: each can be replaced in a test or a simulation by an argument.

Knows nothing of Banyan.

Others use ``clock`` (``Clock``, ``SystemClock``), ``randomness`` (``Randomness``), ``lease``
(``Lease``), ``process_memory`` (``trim``), ``system_memory`` (``free_bytes``), ``logs``
(``configure``, ``adopt``, ``tell``), ``files`` (``write_file``, ``nothing_left``), ``troubles``
(``Troubles``, ``read_troubles``), ``retry`` (``keep_trying``), ``terminal`` (``visible``),
``open_files`` (``raise_open_files``).
"""
