"""Large artefacts for many members of a circle at once, over libtorrent; the extra ``[swarm]``.

``session`` has ``Swarm``, ``description`` writes and reads torrents, without libtorrent,
``arrivals`` checks what came, ``blame`` finds who sent wrong bytes, and ``engine`` is libtorrent as
a circle uses it.
"""
