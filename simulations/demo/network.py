"""Building the demo's network on disk, with the same parts an operator uses.

Every node is enrolled by its parent: keys, certificate, coordinates, a ``node.toml`` and its text.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from nodes.config.files import write_config
from nodes.machine.clock import SystemClock
from nodes.model.coordinates import coordinates_of
from nodes.state.home import Home
from nodes.state.node import Node
from nodes.text.files import write_texts
from nodes.trust.enrolment import enrol, join, make_request
from nodes.trust.network import init_network
from protocol import Role, Scope
from simulations.demo.plan import DemoScale, NodePlan, sections


@dataclass(frozen=True)
class Placed:
    """A node of the plan on disk."""

    plan: NodePlan
    folder: Path
    address: str


def build_network(
    folder: Path, base: Path, plans: list[NodePlan], settings: DemoScale, *, f_cardiology: bool
) -> list[Placed]:
    """Make every node of the plan below ``folder``; parents come before their children."""
    clock = SystemClock()
    ports = iter(free_ports(sum(plan.role is not Role.DEVICE for plan in plans)))
    placed: dict[Scope, tuple[Node, str]] = {}
    made: list[Placed] = []
    for plan in plans:
        state = folder / plan.name
        address = "" if plan.role is Role.DEVICE else f"127.0.0.1:{next(ports)}"
        uplink = None
        if plan.parent_scope is None:
            coordinates = coordinates_of(base, rank=settings.rank, targets=settings.targets)
            home = init_network(state, "demo", coordinates, clock)
        else:
            parent, uplink = placed[plan.parent_scope]
            request = make_request(state, plan.name, plan.scope, plan.role)
            home, _ = join(state, enrol(parent, request, [uplink]), clock)
        _configure(home, plan, base, settings, uplink, address, f_cardiology)
        if plan.role is not Role.DEVICE:
            placed[plan.scope] = (Node(home, clock), address)
        made.append(Placed(plan, state, address))
    for node, _ in placed.values():
        node.close()
    return made


def _configure(
    home: Home,
    plan: NodePlan,
    base: Path,
    settings: DemoScale,
    uplink: str | None,
    address: str,
    f_cardiology: bool,
) -> None:
    values = sections(plan, settings, attack_expected=f_cardiology)
    data = values.setdefault("data", {})
    if plan.train:
        write_texts(home.folder / "text" / "train.jsonl", plan.train)
        data["train"] = ["text/train.jsonl"]
    if plan.probes:
        for source, texts in plan.probes.items():
            write_texts(home.folder / "text" / f"probes-{source}.jsonl", texts)
        data["probes"] = {source: f"text/probes-{source}.jsonl" for source in plan.probes}
    values["model"] = {
        "threads": 1,
        "lease": str(home.folder.parent / "lease"),
        "lease_slots": 2,
        "keep_loaded": plan.role is Role.DEVICE,
        "isolate": False,  # its nodes are forked and share what is loaded (decision 0007)
        **values.get("model", {}),
    }
    if uplink:
        values["uplink"] = {"poll_s": settings.poll_s}
    port = int(address.rpartition(":")[2]) if address else 0
    write_config(home, base=base, uplink=[uplink] if uplink else [], port=port, settings=values)


def free_ports(count: int) -> list[int]:
    """Ports on loopback that are free now; all are held until all are known."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
