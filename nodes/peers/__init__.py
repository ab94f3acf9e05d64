"""What machines give each other beside rounds: the base, renewed memberships, lost artefacts.

Guarantees: a node gives only what its members may have; what arrives is checked against a digest or
a signature before it is in its place; an interrupted transfer goes on where it stopped.

Knows nothing of rounds or training.

Inside: ``wire/`` carries calls over gRPC, and knows nothing of what they mean; ``circle/`` knows
who is in a circle, a parent and its children; ``joining/`` lets new ones in; ``artefacts/`` brings
what is named by its digest from whoever has it, and ``swarm/`` large ones to many at once;
``statuses/`` are how each node is, signed by itself and handed upward. ``below`` and ``above`` are
a node's part in its two circles, and ``peers`` is all of it.

Others use ``peers`` (``Peers``), ``parent_link`` (``ParentLink``), ``needs`` (``Needs``),
``joining``, ``statuses`` and ``artefacts`` (what a node gave and took).
"""
