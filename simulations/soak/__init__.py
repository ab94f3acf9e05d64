"""Whole networks of real processes for a long time, and through what happens to machines.

``network`` builds and runs one, ``soak`` watches it grow, ``kills`` ends its processes at random
beside an undisturbed twin, ``failures`` does to a small one what disks, clocks and people do, and
``year`` lets a year pass on a clock of its own. Every finding comes from ledgers, ``/proc`` and the
disk, never from what a node says of itself alone.
"""
