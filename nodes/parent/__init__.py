"""The parent's role: open rounds, admit answers, aggregate, ask the gate, release.

Guarantees: an update counts at most once, is on disk before it counts, and gets a verdict in a
signed release or in the ledger; no candidate that the gate refused is released; a process that is
killed anywhere resumes from its ledger.

Knows nothing of how messages travel (a driver calls ``step`` and ``receive``), nor of torch.

Others use ``parent`` (``Parent``), ``tasks`` (``Request``), ``withdrawal`` (``withdraw``),
``receipt_desk`` (``ReceiptDesk``). To
replace a part of it, they use ``settlement`` (``Settlement``), ``combine`` (``Combiner``,
``Collected``) and ``gate`` (``Gate``, ``Passed``).
"""
