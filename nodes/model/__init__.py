"""The model: base, coordinates, adapter, losses.

Guarantees: the same base and the same vector give the same effective model; a base is what its
digest says. Only here (and in ``simulations``) is torch imported.

Knows nothing of nodes, rounds or where text comes from.

Others use ``base`` (``describe_base``, ``load_base``), ``coordinates`` (``coordinates_of``),
``layout`` (``Layout``), ``basis``, ``effective`` (``EffectiveModel``), ``learner`` (``train``),
``probe`` and ``safety`` (what is measured), ``answers`` (questions and greedy answers),
``peft_io`` and ``peft_import`` (adapters for and of other tools), ``digest``, ``base_files``.
"""
