"""Run one node as one process: its links, its roles, and a clean end.

Threads: Flower's server for the children, the parent's rounds, the uplink. SIGTERM or SIGINT sets
one event that all of them watch. Nothing needs to be saved at the end: the ledger already holds it,
so ``kill -9`` ends a node just as well.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from nodes.config.files import load_config
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.flower.environment import prepare_environment
from nodes.learning.engine import TorchEngine
from nodes.learning.interfaces import Engine
from nodes.machine.clock import Clock, SystemClock
from nodes.machine.files import write_file
from nodes.machine.logs import adopt, configure
from nodes.machine.process_memory import trim
from nodes.releases.publish import start_root
from nodes.state.events import TrafficCounted
from nodes.state.folder_lock import FolderLock
from nodes.state.home import ENDPOINT_FILE, Home, open_home
from nodes.state.node import Node

if TYPE_CHECKING:
    from nodes.child.child import Child

log = structlog.get_logger()

TIDY_EVERY_S = 3600.0

FLOWERS_LOGGERS = ("flwr", "uvicorn", "uvicorn.error")

MakeChild = Callable[["Node", NodeConfig, Engine], "Child"]


def run(
    config_file: Path, *, with_parent: bool = False, make_child: MakeChild | None = None
) -> None:
    """Run the node of a ``node.toml`` until SIGTERM or SIGINT.

    Args:
        with_parent: stop also when the process that started this one is gone.
        make_child: what answers the parent's tasks, if not ``nodes.child.child.Child``.

    Raises ``NodeError`` and ``ProtocolError`` for what cannot start.
    """
    config, clock = load_config(config_file), SystemClock()
    home = open_home(config.state, clock.now_ms())
    with FolderLock(home.folder) as lock:  # before the log: a second daemon writes nothing
        _run(home, config, clock, lock, with_parent, make_child)


def _run(
    home: Home,
    config: NodeConfig,
    clock: Clock,
    lock: FolderLock,
    with_parent: bool,
    make_child: MakeChild | None,
) -> None:
    configure(home.folder / "logs" / "node.jsonl", config.log_level, home.certificate.name)
    prepare_environment(home.folder / "flower")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if with_parent:
        threading.Thread(target=_stop_with, args=(os.getppid(), stop), daemon=True).start()
    Daemon(home, config, clock, stop, lock, make_child).run()


def _stop_with(parent: int, stop: threading.Event) -> None:
    """Set ``stop`` when the process that started this one is gone."""
    while not stop.wait(1):
        if os.getppid() != parent:
            stop.set()


class Daemon:
    """The links and roles of one node."""

    def __init__(
        self,
        home: Home,
        config: NodeConfig,
        clock: Clock,
        stop: threading.Event,
        lock: FolderLock,
        make_child: MakeChild | None = None,
    ) -> None:
        self._make_child, self._lock, self._clock = make_child, lock, clock
        self._home, self._config, self._stop = home, config, stop
        if config.uplink is None and home.parent is not None:
            raise NodeError("no-uplink", "This node has a parent: [uplink] needs its address.")
        self._node = Node(home, clock)
        self._engine = TorchEngine(home, config.model, stop)
        self._failures: list[BaseException] = []

    def run(self) -> None:
        """Run both roles until stopped; re-raise the error that ended a role."""
        log.info("started", scope=str(self._home.scope), role=self._home.certificate.role.value)
        threads = [
            threading.Thread(target=self._guarded, args=(role,), name=name)
            for name, role in (("uplink", self._uplink), ("downlink", self._downlink))
        ]
        for thread in threads:
            thread.start()
        self._tidy()
        while not self._stop.wait(30):
            trim()
            try:
                self._lock.check()
            except NodeError as error:
                self._fail(error)
            if self._clock.monotonic() - self._tidied >= TIDY_EVERY_S:
                self._tidy()
        for thread in threads:
            thread.join()
        self._node.close()
        log.info("stopped")
        if self._failures:
            raise self._failures[0]

    def _tidy(self) -> None:
        """Let go of the artefacts that nobody needs any more; what fails is tried in an hour."""
        self._tidied = self._clock.monotonic()
        try:
            self._node.tidy(self._config.retention.policy(is_device=self._home.is_device))
        except NodeError as error:
            log.warning("not-tidied", code=error.code, why=error.sentence)

    def _guarded(self, role: Callable[[], None]) -> None:
        try:
            role()
        except NodeError as error:
            if error.code != "stopped":
                self._fail(error)
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        log.error("failed", why=str(error), exc_info=error)
        self._failures.append(error)
        self._stop.set()

    def _uplink(self) -> None:
        if self._config.uplink is None:
            start_root(self._node)
            return
        from nodes.child.child import Child
        from nodes.flower.apps import make_client_app
        from nodes.flower.uplink import Uplink, empty_context

        adopt(*FLOWERS_LOGGERS)

        uplink = Uplink(
            address=self._config.uplink.address,
            ca_pem=self._home.parent_ca,
            transport_key_pem=self._home.transport_pem,
            poll_s=self._config.uplink.poll_s,
        )
        child = (self._make_child or Child)(self._node, self._config, self._engine)
        uplink.run(make_client_app(child), empty_context(), self._stop)

    def _downlink(self) -> None:
        if self._config.downlink is None or self._home.is_device:
            return
        from nodes.flower.apps import serve
        from nodes.flower.downlink import Downlink
        from nodes.flower.members import MemberLinks
        from nodes.parent.parent import Parent
        from nodes.trust.tls import TlsFiles

        adopt(*FLOWERS_LOGGERS)
        parent = Parent(self._node, self._config, self._engine)
        members = MemberLinks(self._node)
        downlink = Downlink(
            host=self._config.downlink.host,
            port=self._config.downlink.port,
            tls=TlsFiles.in_folder(self._home.folder / "tls"),
            on_refused=members.refused_at_the_door,
        )
        members.attach(downlink)
        downlink.start()
        try:
            write_file(
                self._home.folder / ENDPOINT_FILE,
                json.dumps({"address": downlink.address, "pid": os.getpid()}).encode(),
            )
            log.info("listening", address=downlink.address)
            serve(
                downlink.grid(),
                parent,
                members.flower_ids,
                poll_s=self._config.rounds.poll_s,
                stop=self._stop,
                abandon=downlink.abandon,
            )
            self._stop.wait()
        finally:
            members.flush()
            downlink.stop()
            self._node.record(TrafficCounted(**asdict(downlink.traffic)))
