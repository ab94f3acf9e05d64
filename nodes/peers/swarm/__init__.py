"""Large artefacts for many members of a circle at once, over libtorrent; the extra ``[swarm]``.

``description`` writes and reads torrents (without libtorrent), ``session`` has ``Swarm``, ``engine``
what of libtorrent a circle uses.
"""
