"""The same world on Flower's simulation engine: every node of the tree is a virtual node.

Flower's grid is flat, so the post stays in the ServerApp and the members are in ClientApps: a
ClientApp is given the events of its node, takes them with the production roles, interior nodes
with the production round machine, and answers with what the node sends. It knows its place in the
tree from its node config (``partition-id``). Between two messages a member is a file, so idle
devices cost disk and not memory, and it may wake in any actor of a Ray cluster that sees the
folder.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from nodes.errors import NodeError
from nodes.flower.environment import prepare_environment
from nodes.machine.clock import Clock
from nodes.state.interfaces import Storage
from protocol import PublicKey, SigningKey
from simulations.experiment.settings import Settings
from simulations.world.build import build
from simulations.world.hosts import Hosts, Usage, own_usage, turn_of
from simulations.world.members import Maker, Member, Turn
from simulations.world.places import Place
from simulations.world.post import Delivery
from simulations.world.ray_path import prepare_ray
from simulations.world.storage import AppendFile, FileArtefacts, file_storage

TIMEOUT_S = 3600.0
"""For one window of events: a device may train for long."""
POLL_S = 0.01
REGISTERED_S = 60.0
"""For all virtual nodes to be on the grid."""
CELL = "cell.json"

client_app = ClientApp()
server_app = ServerApp()


@client_app.query()
def turn(message: Message, context: Context) -> Message:
    """Take the events of one node, in their order."""
    number = int(context.node_config["partition-id"])
    asked = message.content["post"]
    answer: dict[str, Any] = {"number": number, "cpu_s": 0.0, "peak_bytes": 0}
    if events := pickle.loads(asked["events"]):  # noqa: S301  from the ServerApp of this run
        files = member_files(asked["folder"])
        member = files.load(number)
        answer["turns"] = pickle.dumps([turn_of(member, event) for event in events])
        files.save(number, member)
        used = own_usage()
        answer |= {"pid": os.getpid(), "cpu_s": used.cpu_s, "peak_bytes": used.peak_bytes}
    return Message(RecordDict({"post": ConfigRecord(answer)}), reply_to=message)


@server_app.main()
def simulate(grid: Grid, context: Context) -> None:
    """One cell of an experiment under stock ``flwr run``; see ``simulations/flower_app``."""
    from simulations.experiment import load_experiment
    from simulations.experiment.folder import opened
    from simulations.world.life import live_in, topology

    asked = context.run_config
    experiment = load_experiment(str(asked["experiment"]), quick=bool(asked["quick"]))
    cell = experiment.cells[int(str(asked["cell"]))]
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="banyan-flower-") as temporary,
        opened(Path(str(asked["out"])), experiment) as (folder, _),
        folder.writing(cell) as record,
    ):
        members = Path(cell.settings.run.folder or temporary)
        maker = stock(cell.settings, cell.seed, members).maker
        record(topology(maker))
        host = FlowerHost(grid, members, len(maker.places))
        live_in(cell.settings, maker, host, record, lambda _: None, started)


def live(given: Settings, seed: int, folder: Path, use: Callable[[Hosts], None]) -> None:
    """Run a world on Flower's engine in this process; ``use`` gets the host.

    Args:
        folder: for the members; on a cluster every machine must see it.
    """
    prepare_environment(folder / "flower")
    prepare_ray()
    from flwr.simulation import run_simulation

    logging.getLogger("flwr").setLevel(logging.ERROR)
    files = stock(given, seed, folder)
    failures: list[BaseException] = []
    stopped = threading.Event()
    app = ServerApp()

    @app.main()
    def main(grid: Grid, _: Context) -> None:
        try:
            use(FlowerHost(grid, folder, len(files.maker.places), stopped))
        except BaseException as error:
            failures.append(error)
            raise

    try:
        run_simulation(
            server_app=app,
            client_app=client_app,
            num_supernodes=len(files.maker.places),
            backend_config={
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                "init_args": {"include_dashboard": False, "log_to_driver": False},
            },
        )
    finally:
        stopped.set()
    if failures:
        raise failures[0]


class FlowerHost:
    """Members behind Flower's grid.

    Args:
        stopped: is set when the engine has ended; then nobody answers any more.
    """

    def __init__(
        self, grid: Grid, folder: Path, count: int, stopped: threading.Event | None = None
    ) -> None:
        self._grid, self._folder = grid, folder
        self._stopped = stopped or threading.Event()
        self._used: dict[int, Usage] = {}
        self._ids = self._ask_who(count)

    def turns(self, events: Sequence[Delivery]) -> list[Turn]:
        """What comes of events, in their order; nodes work at the same time."""
        by_node: dict[int, list[Delivery]] = {}
        for event in events:
            by_node.setdefault(event.at, []).append(event)
        messages = [self._message(self._ids[at], of) for at, of in by_node.items()]
        answers = {}
        for reply in self._exchange(messages):
            answer = reply.content["post"]
            answers[int(answer["number"])] = iter(pickle.loads(answer["turns"]))  # noqa: S301
            used = Usage(float(answer["cpu_s"]), int(answer["peak_bytes"]))
            self._used[int(answer["pid"])] = used
        return [next(answers[event.at]) for event in events]

    def usage(self) -> Usage:
        """What this process and the actors took, together."""
        found = [own_usage(), *self._used.values()]
        return Usage(sum(u.cpu_s for u in found), sum(u.peak_bytes for u in found))

    def close(self) -> None:
        """Flower ends the actors when the ServerApp returns."""

    def _ask_who(self, count: int) -> dict[int, int]:
        """Flower's id of each node of the tree."""
        ids: list[int] = []
        until = time.monotonic() + REGISTERED_S
        while len(ids) != count and time.monotonic() < until and not self._stopped.is_set():
            ids = list(self._grid.get_node_ids())
            time.sleep(0.05)  # nodes register while the ServerApp already runs
        if len(ids) != count:
            raise NodeError("wrong-grid", f"The tree has {count} nodes, the grid {len(ids)}.")
        replies = self._exchange([self._message(node, []) for node in ids])
        return {int(r.content["post"]["number"]): r.metadata.src_node_id for r in replies}

    def _message(self, node: int, events: Sequence[Delivery]) -> Message:
        record = ConfigRecord({"events": pickle.dumps(list(events)), "folder": str(self._folder)})
        return Message(RecordDict({"post": record}), dst_node_id=node, message_type="query")

    def _exchange(self, messages: Sequence[Message]) -> list[Message]:
        waited = set(self._grid.push_messages(messages))
        replies: list[Message] = []
        until = time.monotonic() + TIMEOUT_S
        while waited and time.monotonic() < until:
            if self._stopped.is_set():
                raise NodeError("engine-gone", "Flower's engine ended before the simulation.")
            found = list(self._grid.pull_messages(waited))
            waited -= {reply.metadata.reply_to_message_id for reply in found}
            replies += found
            if not found:
                time.sleep(POLL_S)
        failed = [reply for reply in replies if reply.has_error()]
        if failed or len(replies) != len(messages):
            why = failed[0].error.reason if failed else "no answer in time"
            raise NodeError("actor-failed", f"A virtual node did not answer: {why}")
        return replies


# -- members as files ---------------------------------------------------------------------------


class MemberFiles:
    """The members of one world as files in a folder, and what all of them share in a process."""

    def __init__(self, given: Settings, seed: int, folder: Path) -> None:
        self._folder = folder
        self.maker = build(given, seed, self._storage)

    def _storage(self, place: Place, clock: Clock) -> Storage:
        file = AppendFile(self._folder / f"{place.id}.file")
        return file_storage(file, FileArtefacts(file), clock.now_ms)

    def save(self, number: int, member: Member) -> None:
        """Write a member, whole or not at all, and let go of its file."""
        temporary = self._folder / f".{number}.pickle"
        with temporary.open("wb") as file:
            _Pickler(file, self.maker).dump(member)
        temporary.replace(self._folder / f"{number}.pickle")

    def load(self, number: int) -> Member:
        """Read a member as it was put back."""
        with (self._folder / f"{number}.pickle").open("rb") as file:
            member: Member = _Unpickler(file, self.maker).load()
        return member


def stock(given: Settings, seed: int, folder: Path) -> MemberFiles:
    """Make every member of a world and write it."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"settings": given.model_dump(mode="json"), "seed": seed}
    (folder / CELL).write_text(json.dumps(told), "utf-8")
    files = member_files(str(folder))
    for member in files.maker.all():
        files.save(member.place.id, member)
    return files


@lru_cache(maxsize=2)
def member_files(folder: str) -> MemberFiles:
    """The files in a folder, once a process."""
    told = json.loads((Path(folder) / CELL).read_text("utf-8"))
    return MemberFiles(Settings.model_validate(told["settings"]), told["seed"], Path(folder))


class _Pickler(pickle.Pickler):
    """Writes a member without what every process has: the maker, the problem, the places."""

    def __init__(self, file: Any, maker: Maker) -> None:
        super().__init__(file)
        self._shared = {id(thing): name for name, thing in _shared(maker).items()}

    def persistent_id(self, thing: object) -> str | None:
        return "lock" if isinstance(thing, _LOCK) else self._shared.get(id(thing))

    def reducer_override(self, thing: object) -> Any:
        if isinstance(thing, SigningKey):
            return _signing_key, (thing._key.private_bytes_raw(),)
        if isinstance(thing, PublicKey):
            return PublicKey.from_raw, (thing.raw,)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, maker: Maker) -> None:
        super().__init__(file)
        self._shared = _shared(maker)

    def persistent_load(self, name: Any) -> object:
        return threading.RLock() if name == "lock" else self._shared[name]


def _shared(maker: Maker) -> dict[str, object]:
    return {"maker": maker, "problem": maker.problem, "places": maker.places}


_LOCK = type(threading.RLock())


def _signing_key(seed: bytes) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))
