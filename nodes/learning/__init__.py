"""Learning: train on and measure with the node's own text.

Guarantees: text that anybody measures with is never trained on; the number of nodes that compute at
one time on one machine is bounded; torch is imported only when something is computed.

Knows nothing of parents, children or signatures.

Others use ``interfaces`` (``Engine``, ``Corpus``: what the roles need), ``engine``
(``TorchEngine``), ``isolated`` (``IsolatedEngine``: the same in a process of its own) and
``corpus`` (``StoredCorpus``) that fulfil them, ``lesson`` (``Lesson``,
``arrived``), ``training`` (``Learner``), ``trials`` (``Probes``, ``Trial``, ``Judged``),
``inputs`` (``Inputs``).
"""
