"""What machines give each other beside rounds: the base, renewed memberships, lost artefacts.

Guarantees: a node gives only what its members may have; what arrives is checked against a digest or
a signature before it is in its place; an interrupted transfer goes on where it stopped.

Knows nothing of rounds or training.

Inside: ``wire/`` carries calls over gRPC, and knows nothing of what they mean; ``circle/`` knows
who is in a circle, a parent and its children; ``swarm/`` carries large artefacts to many at once;
``joining/`` lets nodes in that have a token, and joins with one.

Others use ``peers`` (``Peers``), ``parent_link`` (``ParentLink``), ``needs`` (``Needs``),
``statuses`` (how each node is, signed by itself, and handed upward), ``joining`` (invitations,
tokens, ``join_with_token``).
"""
