"""The child's role: follow the parent's chain, then answer a task or abstain.

Guarantees: nothing that a parent says is believed before its signature, its bindings and the whole
chain verify; a re-base never makes the node worse on its own probes than it tolerates; what the
parent counted is not offered again.

Knows nothing of how messages travel, nor of torch.

Others use ``child`` (``Child``, ``offer_source``), ``follow`` (``Blobs``, ``Followed``), ``offer``
(``Offer``, ``OfferSource``), ``receipt_book`` (``ReceiptBook``).
"""
