"""Releases: verified when they come from above, signed when they are the node's own, taken back.

Guarantees: only a whole, consistent chain that the parent signed is believed, and none older than
the one installed; an own release is one ledger event; a rollback is itself a release.

Knows nothing of rounds, gates or how a chain arrived.

Others use ``chain`` (``verify_snapshot``, ``verify_chain``, ``verify_release``), ``public``
(``public_release``, ``public_adapters``), ``publish`` (``publish``, ``release``, ``Made``),
``rollback`` (``roll_back``, ``promoted_since``), ``recover`` (``recover``), ``receipt_proof``
(``prove``), ``receipt_files`` (``write_receipts``, ``check_receipts``).
"""
