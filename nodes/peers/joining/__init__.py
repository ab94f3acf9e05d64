"""Joining in one line: a parent's invitation, and how a node becomes a member with its token.

Guarantees: a token lets in one key, once; its secret never travels; whoever asks again with the
same key gets the same answer, also after a ``kill -9`` on either side; what a parent answers is
verified against the network and the authority that the token names before anything of it is kept.

Knows nothing of how questions travel, or where artefacts come from.
"""
