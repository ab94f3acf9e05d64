"""Flower's links: a SuperLink for the children, a connection to the parent, both in the daemon.

Guarantees: only enrolled transport keys get in, only the fleet routes are exposed, a node answers
for itself alone, and a lost connection is tried again until the daemon stops. Every import of
Flower's internals is in ``internals`` and ``fleet_server``.

Knows nothing of what messages mean: it carries parts of bytes between the roles of two nodes.

Others use ``environment`` (``prepare_environment``, before anything imports Flower), ``downlink``
(``Downlink``), ``uplink`` (``Uplink``), ``apps`` (``make_client_app``, ``serve``), ``members``
(``MemberLinks``), ``messages`` (``pack``, ``unpack``), ``errors`` (``LinkError``, ``Refusal``); the
simulated attackers also ``internals``.
"""
