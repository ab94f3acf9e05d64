"""One cell of an experiment: build its world, let it live, and say what happened.

Records go out as they are made (see ``docs/simulations.md``). The same settings and seed give the
same records but for the times that were really taken.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from protocol import Role
from simulations.experiment.settings import Settings
from simulations.records import Recorder
from simulations.world.build import build
from simulations.world.hosts import Hosts, LocalHost, ProcessHost
from simulations.world.life import live_in, topology
from simulations.world.members import Maker


def run_cell(
    settings: Settings, seed: int, record: Recorder, tick: Callable[[float], None]
) -> None:
    """Run one cell to its end.

    Args:
        record: called with each record in turn.
        tick: called with the share of the rounds that is done, from 0 to 1.

    Raises ``NodeError`` for settings that no world can be built from.
    """
    started = time.perf_counter()
    maker = build(settings, seed)
    record(topology(maker))

    _with_host(
        settings, seed, maker, lambda host: live_in(settings, maker, host, record, tick, started)
    )


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
