"""Artefacts from anybody: who has them, in parts from several at once, verified, given on.

An artefact is named by the SHA-256 of its bytes. ``shelf`` and ``service`` give, ``holders``
remembers who else has what; ``fetch`` takes, ``transfer`` and ``pool`` decide whom to ask for which
part, ``partial`` keeps the parts through ``kill -9``, ``standing`` who gave wrong bytes. ``base``
fetches a network's base with these. Only ``remote`` knows gRPC.
"""
