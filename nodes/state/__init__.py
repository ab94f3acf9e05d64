"""The state of a node, durable through ``kill -9``.

Guarantees: what is appended to the ledger is on disk, whole or not at all; the state is a fold over
the ledger's events and nothing else; an artefact is read back only if it matches its digest.

Knows nothing of what is signed, trained or sent.

Others use ``node`` (``Node``), ``home`` (``Home``, ``open_home``, ``write_home``), ``events`` (what
a ledger can say) and ``event_codec`` (``read``, ``write``, ``events_of``), ``ledger`` (``Ledger``,
``LedgerEntry``, ``Claim``), ``node_state`` (``NodeState``) and its part ``offers``
(``ANSWERED_ROUNDS``), ``fates`` (``fate_of``, ``WITHDRAWN``), ``records``, ``rounds``
(``OFFENCES``), ``vectors`` (``Vector``, ``sum_of``), ``artefacts`` (``ArtefactStore``,
``ArtefactError``), ``folder_lock`` (``FolderLock``, ``is_locked``), ``ledger_files``
(``LedgerFiles``, ``Mark``),
``door_refusals`` (``DoorRefusals``), ``checkpoint`` (``decode``, ``current``), ``retention``
(``RetentionPolicy``, ``plan``, ``needed``), ``database`` (``Database``), ``interfaces``
(``Storage``).
"""
