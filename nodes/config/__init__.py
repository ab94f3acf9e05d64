"""``node.toml``: the settings of a node, decided by the person who runs it.

Guarantees: read once, checked whole, every mistake named with its place; constant afterwards.

Knows nothing of what the settings do.

Others use ``sections`` (``NodeConfig`` and its sections), ``files`` (``load_config``,
``write_config``), ``policy`` (``RoundPolicy``), ``addresses`` (``Address``, this machine's own),
``reach`` (where a node is reached, and where it reaches its parent), ``peer_ports`` (the ports of
its peer service).
"""
