"""One cell of an experiment: build its world, run it, and record what happens.

Records go out as they are made (see ``docs/simulations.md``). The same settings and seed give the
same records but for the times that were really taken.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from protocol import Role
from simulations.records import NodeEntry, Recorder, TopologyRecord
from simulations.world.build import build
from simulations.world.hosts import Hosts, LocalHost, ProcessHost
from simulations.world.life import Life
from simulations.world.members import Maker
from simulations.world.places import Place
from simulations.world.texts import Texts

if TYPE_CHECKING:
    from simulations.experiment.settings import Settings

MOST_LISTED = 400
"""A tree of more nodes is recorded by its counts alone."""


def run_cell(
    given: Settings,
    seed: int,
    record: Recorder,
    tick: Callable[[float], None],
) -> None:
    """Run one cell to its end.

    Args:
        record: called with each record in turn.
        tick: called with the share of the rounds that is done, from 0 to 1.

    Raises ``NodeError`` for settings that no world can be built from.
    """
    started = time.perf_counter()
    maker = build(given, seed)
    record(topology(maker))

    _with_host(given, seed, maker, lambda host: live_in(given, maker, host, record, tick, started))


def live_in(
    given: Settings,
    maker: Maker,
    host: Hosts,
    record: Recorder,
    tick: Callable[[float], None],
    started: float,
) -> None:
    """Run a world in a host to its end, and record it.

    Args:
        started: by ``time.perf_counter``, when the cell began.
    """
    life = Life(given, maker, host, record, tick)
    life.run()
    usage = host.usage()
    record(life.ending(time.perf_counter() - started, usage))


def _with_host(given: Settings, seed: int, maker: Maker, use: Callable[[Hosts], None]) -> None:
    """Run ``use`` with a host: in this process, in several processes, or behind Flower."""
    if given.run.engine == "flower":
        from simulations.world.flower import live

        with tempfile.TemporaryDirectory(prefix="banyan-flower-") as folder:
            live(given, seed, Path(given.run.folder or folder), use)
        return
    workers = given.run.processes
    host: Hosts
    if workers > 1:
        host = ProcessHost(build, (given, seed), shards(maker, workers), workers)
    else:
        host = LocalHost(maker.all())
    try:
        use(host)
    finally:
        host.close()


def shards(maker: Maker, workers: int) -> list[int]:
    """Assign every place to a process; what hangs below one lowest scope stays together."""
    lowest = {place.id: at % workers for at, place in enumerate(maker.places.lowest())}
    shard = []
    for place in maker.places:
        if place.role is Role.DEVICE and place.parent is not None:
            shard.append(lowest[place.parent])
        else:
            shard.append(lowest.get(place.id, place.id % workers))
    return shard


def topology(maker: Maker) -> TopologyRecord:
    """Make the record of a tree; above ``MOST_LISTED`` nodes it has only their counts."""
    places = maker.places
    nodes = tuple(
        NodeEntry(
            id=place.id,
            parent=place.parent,
            scope=str(place.scope),
            tier=place.tier,
            name=place.name,
            attacker=place.attacker,
            rank=place.machine.rank,
            speed=place.machine.steps_per_s,
            domain=_domain(maker, place),
        )
        for place in (places if len(places) <= MOST_LISTED else ())
    )
    return TopologyRecord(nodes=nodes, counts=dict(Counter(place.tier for place in places)))


def _domain(maker: Maker, place: Place) -> str:
    if isinstance(maker.problem, Texts) and place.domain >= 0:
        return maker.problem.domain_of(place)
    return ""
