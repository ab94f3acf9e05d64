"""The demo's nodes on disk: their folders, ports, text and settings.

``build_network`` enrols all of them before any runs, with requests and bundles; the demo itself
lets them join one after the other (``joining``).
"""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nodes.config.addresses import KEPT_PORTS
from nodes.config.files import write_config
from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.model.coordinates import coordinates_of
from nodes.state.home import Home
from nodes.state.node import Node
from nodes.text.files import write_texts
from nodes.trust.enrolment import enrol, join, make_request
from nodes.trust.network import init_network
from protocol import Role, Scope
from simulations.demo.plan import DemoScale, NodePlan, sections

HOST = "127.0.0.1"
LEASE, LEASE_SLOTS = "lease", 2
"""Beside the nodes' folders: so many of them compute at one time."""


@dataclass(frozen=True)
class PeerPorts:
    """The ports of a node's peer service, as in ``[peers]``."""

    port: int
    door: int
    siblings: int
    swarm: int


@dataclass(frozen=True)
class Placed:
    """A node of the plan and its place on this machine.

    Attributes:
        link: the port of Flower's link, where children connect; 0 at a device.
    """

    plan: NodePlan
    folder: Path
    link: int
    peers: PeerPorts

    @property
    def address(self) -> str:
        """Where children reach Flower's link; empty at a device."""
        return f"{HOST}:{self.link}" if self.link else ""

    @property
    def door(self) -> str:
        """Where whoever joins reaches it."""
        return f"{HOST}:{self.peers.door}"


def place(folder: Path, plans: list[NodePlan]) -> list[Placed]:
    """Give every node of the plan a folder below ``folder`` and ports that nobody else has."""
    ports = iter(free_ports(5 * len(plans)))

    def port() -> int:
        return next(ports)

    return [
        Placed(
            plan,
            folder / plan.name,
            0 if plan.role is Role.DEVICE else port(),
            PeerPorts(port(), port(), port(), port()),
        )
        for plan in plans
    ]


def build_network(
    folder: Path, base: Path, plans: list[NodePlan], settings: DemoScale, *, f_cardiology: bool
) -> list[Placed]:
    """Make every node of the plan below ``folder``; parents come before their children.

    All of them read the base where it is.
    """
    clock = SystemClock()
    placed = place(folder, plans)
    parents: dict[Scope, tuple[Node, Placed]] = {}
    for node in placed:
        plan, uplink = node.plan, list[str]()
        if plan.parent_scope is None:
            home = make_root(node, base, settings)
        else:
            parent, above = parents[plan.parent_scope]
            uplink = [above.address]
            request = make_request(node.folder, plan.name, plan.scope, plan.role)
            bundle = enrol(parent, request, uplink, doors=[above.door])
            home, _ = join(node.folder, bundle, clock)
        own = own_settings(node, settings, f_cardiology=f_cardiology)
        write_config(home, base=base, uplink=uplink, host=HOST, port=node.link, settings=own)
        if plan.role is not Role.DEVICE:
            parents[plan.scope] = (Node(home, clock), node)
    for parent, _ in parents.values():
        parent.close()
    return placed


def make_root(node: Placed, base: Path, settings: DemoScale) -> Home:
    """Make the root with its network's keys and coordinates."""
    coordinates = coordinates_of(base, rank=settings.rank, targets=settings.targets)
    return init_network(node.folder, "demo", coordinates, SystemClock())


def own_settings(
    node: Placed, settings: DemoScale, *, f_cardiology: bool
) -> Mapping[str, Mapping[str, Any]]:
    """Write a node's text into its folder, and return the sections of its configuration."""
    plan, folder = node.plan, node.folder
    values = sections(plan, settings, attack_expected=f_cardiology)
    data = values.setdefault("data", {})
    if plan.train:
        write_texts(folder / "text" / "train.jsonl", plan.train)
        data["train"] = ["text/train.jsonl"]
    if plan.probes:
        for source, texts in plan.probes.items():
            write_texts(folder / "text" / f"probes-{source}.jsonl", texts)
        data["probes"] = {source: f"text/probes-{source}.jsonl" for source in plan.probes}
    values["model"] = {
        "threads": 1,
        "lease": str(folder.parent / LEASE),
        "lease_slots": LEASE_SLOTS,
        "keep_loaded": plan.role is Role.DEVICE,
        "isolate": False,  # its nodes are forked and share what is loaded (decision 0007)
        **values.get("model", {}),
    }
    values["peers"] = {"host": HOST, **asdict(node.peers)}
    if plan.parent_scope is not None:
        values["uplink"] = {"poll_s": settings.poll_s}
    return values


def free_ports(count: int) -> list[int]:
    """Ports on loopback that are free now; all are held until all are known.

    They are none of those that systems give to outgoing connections: one could be taken before its
    node listens. Raises ``NodeError`` ``cannot-listen``.
    """
    with ExitStack() as held:
        ports = list[int]()
        for port in random.sample(KEPT_PORTS, len(KEPT_PORTS)):
            if len(ports) == count:
                break
            one = held.enter_context(socket.socket())
            try:
                one.bind((HOST, port))
            except OSError:
                continue
            ports.append(port)
    if len(ports) < count:
        raise NodeError("cannot-listen", f"{count} ports are not free on {HOST}.")
    return ports
