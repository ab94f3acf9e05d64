"""The parent's role: open rounds, admit answers, aggregate, ask the gate, release.

Guarantees: an update counts at most once, is on disk before it counts, and gets a verdict in a
signed release or in the ledger; nothing is released that the gate refused; a process that is killed
anywhere goes on where its ledger says.

Knows nothing of how messages travel (a driver calls ``step`` and ``receive``), nor of torch.

Others use ``parent`` (``Parent``), ``tasks`` (``Request``), ``withdrawal`` (``withdraw``); whoever
replaces a part of it ``settlement`` (``Settlement``), ``combine`` (``Combiner``, ``Collected``) and
``gate`` (``Gate``, ``Passed``).
"""
