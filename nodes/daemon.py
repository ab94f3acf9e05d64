"""Run one node as one process: its links, its roles, and a clean end.

Threads: Flower's server for the children, the parent's rounds, the uplink, the peer service,
renewals.
SIGTERM or SIGINT sets one event that all of them watch. Nothing needs to be saved at the end: the
ledger already holds it, so ``kill -9`` ends a node just as well.

A mistake in the configuration ends the node at its start, with a sentence. Later nothing does but a
signal or the loss of its folder: what fails stands in ``troubles`` and is tried again.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from nodes.config.files import load_config
from nodes.config.reach import certificate_names, listening_port
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.flower.environment import prepare_environment
from nodes.learning.engine import TorchEngine
from nodes.learning.inputs import Inputs
from nodes.learning.interfaces import Engine
from nodes.learning.isolated import IsolatedEngine
from nodes.machine.clock import Clock, SystemClock
from nodes.machine.files import write_file
from nodes.machine.logs import adopt, configure
from nodes.machine.process_memory import give_back_large, trim
from nodes.machine.retry import keep_trying, report
from nodes.machine.troubles import TROUBLES_FILE, Troubles
from nodes.peers.needs import Needs
from nodes.peers.parent_link import ParentLink
from nodes.peers.peers import Peers
from nodes.releases.publish import start_root
from nodes.state.door_refusals import DoorRefusals
from nodes.state.events import TrafficCounted
from nodes.state.folder_lock import FolderLock
from nodes.state.home import ENDPOINT_FILE, Home, open_home
from nodes.state.node import Node
from nodes.text.changes import fingerprint
from nodes.trust.renewal import renew_root
from protocol import NodeId

if TYPE_CHECKING:
    from nodes.child.child import Child
    from nodes.trust.tls import TlsFiles

log = structlog.get_logger()

FLOWERS_LOGGERS = ("flwr", "uvicorn", "uvicorn.error")

LOOK_EVERY_S = 5.0
"""Seconds between looks at the node's own text: new text is announced to the parent."""
TIDY_EVERY = 6
"""Looks between givings back of memory, and checks of what may change outside."""
LET_GO_EVERY_S = 3600.0
"""Seconds between deletions of artefacts that nobody needs any more."""

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
    home = open_home(config.state, None)  # certificates that ended are renewed below
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
    if config.model.isolate:  # torch is in another process
        give_back_large()
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
            raise NodeError("no-uplink", "This node has a parent: [uplink] needs its addresses.")
        self._troubles = Troubles(home.folder / TROUBLES_FILE, clock)
        uplink = config.uplink
        self._above = ParentLink(home, uplink, clock, self._troubles) if uplink else None
        self._failures: list[BaseException] = []

    def run(self) -> None:
        """Run both roles until stopped; re-raise the error with which a role could not start."""
        log.info("started", scope=str(self._home.scope), role=self._home.certificate.role.value)
        needs = Needs(self._config, self._above, self._clock, self._stop, self._troubles)
        self._home = needs.membership(self._home)
        if self._stop.is_set():
            return
        inputs = Inputs(self._home, self._config, self._troubles)
        if not needs.awaits_base(self._home):
            inputs.check()  # before there is a ledger
        self._node = Node(self._home, self._clock)
        self._refusals = DoorRefusals(self._node)
        self._peers = Peers(self._node, self._config, self._above, self._refusals, self._troubles)
        try:
            needs.base(self._node, self._peers.fetcher)
            if self._stop.is_set():
                return
            inputs.check()
            self._run_roles(inputs)
        finally:
            self._peers.close()
            self._node.close()

    def _run_roles(self, inputs: Inputs) -> None:
        make_engine = IsolatedEngine if self._config.model.isolate else TorchEngine
        self._engine = make_engine(self._home, self._config.model, self._stop)
        roles = {"uplink": self._uplink, "downlink": self._downlink}
        child = self._child = self._make_child_role()
        roles |= self._peers.roles(child, self._stop)
        threads = [
            threading.Thread(target=self._guarded, args=(role,), name=name)
            for name, role in roles.items()
        ]
        for thread in threads:
            thread.start()
        self._tend(inputs)
        for thread in threads:
            thread.join()
        self._refusals.flush()
        self._engine.close()
        log.info("stopped")
        if self._failures:
            raise self._failures[0]

    # -- beside the roles

    def _tend(self, inputs: Inputs) -> None:
        """Look after what no role does, until stopped."""
        text, version, looks = self._text(), self._version(), 0
        self._let_go()
        while not self._stop.wait(LOOK_EVERY_S):
            looks += 1
            now = self._text(), self._version()
            if now != (text, version):
                text, version = now
                if self._above:
                    self._above.client.announce()
            self._look()
            if looks % TIDY_EVERY == 0:
                self._tidy(inputs)
            if looks % round(LET_GO_EVERY_S / LOOK_EVERY_S) == 0:
                self._let_go()

    def _look(self) -> None:
        """Record refusals, and tell peers what is new."""
        try:
            self._refusals.flush()
            self._peers.look()
        except Exception as error:
            report(error, self._troubles, "peers")

    def _tidy(self, inputs: Inputs) -> None:
        trim()
        try:
            self._lock.check()
        except NodeError as error:
            self._fail(error)
            return
        try:
            inputs.check_again()
            if self._above is None and renew_root(self._home, self._clock.now_ms()):
                log.info("membership-renewed", scope="/")
        except Exception as error:
            report(error, self._troubles, "tidying")
        else:
            self._troubles.clear("tidying")

    def _let_go(self) -> None:
        """Delete the artefacts that nobody needs any more; what fails is tried in an hour."""
        try:
            self._node.tidy(self._config.retention.policy(is_device=self._home.is_device))
            damaged = self._node.damaged()
        except Exception as error:
            report(error, self._troubles, "retention")
        else:
            self._troubles.clear("retention")
            self._say_damaged(len(damaged))

    def _say_damaged(self, count: int) -> None:
        """Let ``status`` say that artefacts which the node needs are damaged or missing."""
        if count:
            self._troubles.report(
                "artefacts",
                "damaged-artefacts",
                f"{count} artefacts that this node needs are damaged or missing; what was signed "
                "comes again by itself, `banyan node verify` names the rest.",
            )
        else:
            self._troubles.clear("artefacts")

    def _text(self) -> object:
        """Return what changes when a device's own text does."""
        data = self._config.data
        return fingerprint(data.train, data.watch) if self._home.is_device else None

    def _version(self) -> int:
        """Return what changes when a node with children released something."""
        return 0 if self._home.is_device else self._node.state.own.version

    # -- the roles

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

    def _make_child_role(self) -> Child | None:
        above = self._above
        if above is None:
            return None
        from nodes.child.child import Child

        make = self._make_child or partial(Child, troubles=self._troubles, ahead_ms=above.ahead_ms)
        return make(self._node, self._config, self._engine)

    def _uplink(self) -> None:
        above, child = self._above, self._child
        if above is None or child is None:
            start_root(self._node)
            return
        from nodes.flower.apps import make_client_app
        from nodes.flower.uplink import empty_context

        adopt(*FLOWERS_LOGGERS)

        def link() -> None:
            uplink = above.connect()
            uplink.run(make_client_app(child), empty_context(), self._stop)

        keep_trying(link, self._stop, self._troubles, "child")

    def _downlink(self) -> None:
        home, config, settings = self._home, self._config, self._config.downlink
        if settings is None or home.is_device:
            return
        from nodes.flower.apps import serve
        from nodes.flower.downlink import Downlink
        from nodes.flower.members import MemberLinks
        from nodes.parent.parent import Parent
        from nodes.trust.tls import make_tls

        adopt(*FLOWERS_LOGGERS)

        def renew_tls() -> TlsFiles:
            names = certificate_names(home, config)
            try:
                files = make_tls(home.folder / "tls", names, identity=home.key)
            except Exception as error:
                report(error, self._troubles, "tls")
                raise
            self._troubles.clear("tls")
            return files

        parent: Parent | None = Parent(self._node, config, self._engine)  # a mistake ends the node
        members = MemberLinks(self._node)

        def wake(child: NodeId) -> None:
            if parent is not None:
                parent.wake(child)

        self._peers.on_ready = wake
        downlink = Downlink(
            host=settings.host,
            port=listening_port(home, config),
            tls=renew_tls(),
            on_refused=self._refusals.count,
            renew_tls=renew_tls,
        )
        members.attach(downlink)
        downlink.start()

        def rounds() -> None:
            nonlocal parent
            if parent is None:
                parent = Parent(self._node, config, self._engine)
            try:
                serve(
                    downlink.grid(),
                    parent,
                    members.flower_ids,
                    poll_s=config.rounds.poll_s,
                    stop=self._stop,
                    abandon=downlink.abandon,
                )
            except BaseException:
                parent = None  # it may be in the middle of something; the ledger is not
                raise

        try:
            write_file(
                home.folder / ENDPOINT_FILE,
                json.dumps({"address": downlink.address, "pid": os.getpid()}).encode(),
            )
            reached_at = self._peers.reached_at
            log.info("listening", address=downlink.address, reached_at=reached_at)
            keep_trying(rounds, self._stop, self._troubles, "rounds")
            self._stop.wait()
        finally:
            downlink.stop()
            self._node.record(TrafficCounted(**asdict(downlink.traffic)))
