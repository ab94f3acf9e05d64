"""The demo's nodes join: invited at their parents, with a token each, while the parents run.

Nobody computes before all are there: the machine's lease is held meanwhile, so that every first
round has every child, and the attacker meets the defence that it is to meet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from itertools import groupby
from pathlib import Path

from rich.console import Console

from nodes.config.files import write_config
from nodes.machine.clock import SystemClock
from nodes.machine.lease import Lease
from nodes.peers.artefacts.traffic import FILE as TRAFFIC_FILE
from nodes.peers.artefacts.traffic import read_traffic
from nodes.peers.joining.desk import approve, invite
from nodes.peers.joining.invitations import Invitations
from nodes.peers.joining.join import Wishes, join_with_token
from nodes.peers.joining.means import means
from nodes.peers.joining.token import JoinToken
from nodes.peers.wire.errors import PeerError
from nodes.state.home import Home, open_home
from nodes.state.node import Node
from protocol import NodeId, Role
from simulations.demo.network import HOST, LEASE, LEASE_SLOTS, Placed, make_root, own_settings
from simulations.demo.plan import DemoScale

AT_ONCE = 2
"""Nodes of a tier that join at one time: more would only share the same cores."""
ANSWERS_WITHIN_S = 120.0
"""A parent that was just started answers within this, also on a busy machine."""
_AGAIN_S = 0.2


class Joining:
    """Lets the nodes of a demo join.

    Args:
        base: where the root has the base; the others get it from whom they join.
        began: the monotonic time from which its lines count.
        start: starts a node's daemon.
        check: called while somebody waits; raises when a daemon has ended.
    """

    def __init__(
        self,
        base: Path,
        settings: DemoScale,
        console: Console,
        *,
        began: float,
        start: Callable[[Placed], None],
        check: Callable[[], None],
    ) -> None:
        self._base, self._settings, self._console = base, settings, console
        self._start, self._check = start, check
        self._began = began
        self._names: dict[NodeId, str] = {}

    def run(self, placed: Sequence[Placed]) -> None:
        """Make the root, let every other node join at its parent, and start each of them.

        Raises what a node could not join for, and what ``check`` raises.
        """
        parents = {node.plan.scope: node for node in placed if node.plan.role is not Role.DEVICE}
        with nobody_computes(placed[0].folder.parent), ThreadPoolExecutor(AT_ONCE) as pool:
            for _, tier in groupby(sorted(placed, key=_tier), _tier):
                nodes = list(tier)
                joins = [
                    pool.submit(self._join, node, parents[node.plan.parent_scope])
                    if node.plan.parent_scope is not None
                    else pool.submit(self._begin, node)
                    for node in nodes
                ]
                try:
                    for node, join in zip(nodes, joins, strict=True):
                        join.result()
                        self._start(node)
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise

    def _begin(self, node: Placed) -> None:
        home = make_root(node, self._base, self._settings)
        own = own_settings(node, self._settings, f_cardiology=True)
        write_config(home, base=self._base, host=HOST, port=node.link, settings=own)
        self._say(node, home, "makes the network, and has its base")

    def _join(self, node: Placed, parent: Placed) -> None:
        began = time.monotonic()
        token, clock, person = _invite(node, parent), SystemClock(), _Person(node, parent)
        own = own_settings(node, self._settings, f_cardiology=True)
        wishes = Wishes(name=node.plan.name, host=HOST, port=node.link, settings=own)
        while True:
            try:
                joined = join_with_token(
                    node.folder, token, wishes, means(clock), clock, person, pause=_shortly
                )
                break
            except PeerError as error:  # the parent may be starting; the same call goes on
                if not error.is_down or time.monotonic() > began + ANSWERS_WITHIN_S:
                    raise
            self._check()
            time.sleep(_AGAIN_S)
        how = "joined, approved by a person" if person.approved else "joined"
        givers = read_traffic(node.folder / TRAFFIC_FILE)["taken"]
        by_whom = " and ".join(self._names.get(giver, giver[:12]) for giver in givers)
        size = sum(file.stat().st_size for file in (node.folder / "base").iterdir())
        took = time.monotonic() - began
        what = f"{how}; base, {size / 1e6:.1f} MB, from {by_whom or 'nobody'}; {took:.1f} s"
        self._say(node, joined.home, what)

    def _say(self, node: Placed, home: Home, what: str) -> None:
        self._names[home.id] = node.plan.label
        clock = timedelta(seconds=int(time.monotonic() - self._began))
        line = f"{clock} {node.plan.label:36} {what}"
        self._console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def nobody_computes(folder: Path) -> Iterator[None]:
    """Hold every slot of the lease that the nodes in a folder share."""
    lease, never = Lease(folder / LEASE, LEASE_SLOTS), threading.Event()
    with ExitStack() as slots:
        for _ in range(LEASE_SLOTS):
            slots.enter_context(lease.hold(never))
        yield


def _tier(node: Placed) -> int:
    return node.plan.scope.tier + (node.plan.role is Role.DEVICE)


def _invite(node: Placed, parent: Placed) -> JoinToken:
    """Invite a node at its parent, beside the parent's daemon."""
    clock, plan = SystemClock(), node.plan
    home = open_home(parent.folder, clock.now_ms())
    with closing(Node(home, clock)) as opened, Invitations(parent.folder) as invitations:
        return invite(
            opened,
            invitations,
            scope=plan.scope,
            role=plan.role,
            addresses=(parent.door,),
            name=plan.name,
        )[1]


def _shortly(_: float) -> None:
    """Wait less than the parent asks: the person who decides has decided when it is asked for."""
    time.sleep(_AGAIN_S)


class _Person:
    """Stands at the parent, and approves the one who is expected."""

    def __init__(self, node: Placed, parent: Placed) -> None:
        self._name, self._parent = node.plan.name, parent.folder
        self.approved = False

    def waits(self) -> None:
        """See ``nodes.peers.joining.join.Watcher``."""
        clock = SystemClock()
        home = open_home(self._parent, clock.now_ms())
        with closing(Node(home, clock)) as opened, Invitations(self._parent) as invitations:
            approve(opened, invitations, self._name)
        self.approved = True

    def step(self, sentence: str) -> None:
        """See ``Watcher``."""

    def arrives(self, what: str, done: int, total: int) -> None:
        """See ``Watcher``."""
