"""``node.toml``: what the person who runs a node decides.

Guarantees: read once, checked whole, every mistake named with its place; constant afterwards.

Knows nothing of what the settings do.

Others use ``sections`` (``NodeConfig`` and its sections), ``files`` (``load_config``,
``write_config``, ``parent_address``), ``policy`` (``RoundPolicy``).
"""
