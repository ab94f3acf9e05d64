"""The model: base, coordinates, adapter, losses.

Guarantees: the same base and the same vector give the same effective model; a base is what its
digest says, and no text is longer than it can read. Only here (and in ``simulations``) is torch
imported.

Knows nothing of nodes, rounds or where text comes from.

Others use ``digest`` (``describe_base``), ``base_files`` (``base_files``: what belongs to a base),
``base`` (``load_base``), ``trial_run`` (``try_base``: whether a network can be made on it),
``memory`` (``require_memory``), ``coordinates`` (``coordinates_of``), ``layout`` (``Layout``),
``basis``, ``effective`` (``EffectiveModel``), ``learner`` (``train``), ``learned``
Others use ``digest`` (``describe_base``), ``base_files`` (``base_files``: what belongs to a base),
``base`` (``load_base``), ``trial_run`` (``try_base``: whether a network can be made on it),
``memory`` (``require_memory``), ``coordinates`` (``coordinates_of``), ``layout`` (``Layout``),
``basis``, ``effective`` (``EffectiveModel``), ``learner`` (``train``), ``learned`` (``Learned``),
``probe`` and ``safety`` (what is measured), ``answers`` (questions and greedy answers), ``peft_io``
and ``peft_import`` (adapters for and of other tools).
"""
