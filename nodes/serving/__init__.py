"""Serving: answers to prompts from the effective model of a scope.

Guarantees: an answer names the version it came from, and comes from one whole chain.

Knows nothing of rounds, gates or peers: it reads a state folder.

Others use ``ask`` (``answer_from``, ``Answer``), ``held`` (``held``, ``Held``).
"""
