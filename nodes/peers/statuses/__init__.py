"""How each node is, signed by itself, and handed up the tree as it was signed.

``own`` composes a node's status, ``rows`` keeps statuses in a file, ``book`` verifies those that
children hand in, ``service`` answers for them, ``reporter`` hands them to the parent.
"""
