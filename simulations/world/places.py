"""The tree on paper: which nodes there are, where each hangs and what its machine is like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from protocol import Role, Scope

TIERS = ("root", "language", "domain", "subdomain")
"""Names of the first depths; deeper ones are numbered."""


@dataclass(frozen=True)
class Machine:
    """What a node's machine and its link are like.

    Attributes:
        rank: r, the rows of the basis that it trains.
        layers: the share of the base's layers that it has, from the first.
        memory_mb: 0 where it is no limit; a device with less than training takes only receives.
        steps_per_s: training steps a second.
        availability: the share of tasks that find it switched on.
        latency_s: seconds that a message takes, however short.
        bytes_per_s: what its link carries.
    """

    rank: int
    layers: float = 1.0
    memory_mb: float = 0.0
    steps_per_s: float = 1.0
    availability: float = 1.0
    latency_s: float = 0.05
    bytes_per_s: float = 6.25e6


@dataclass(frozen=True)
class Place:
    """One node of the tree.

    Attributes:
        id: its number; parents come before children.
        parent: the number of its parent; None at the root.
        domain: which domain its text is from, counted over the lowest scopes.
        mode: how a device trains, ``plain`` or ``personal``.
    """

    id: int
    parent: int | None
    scope: Scope
    role: Role
    domain: int
    machine: Machine
    attacker: bool = False
    mode: str = "plain"

    @property
    def name(self) -> str:
        """As logs and reports call it."""
        return f"device-{self.id}" if self.role is Role.DEVICE else str(self.scope)

    @property
    def tier(self) -> str:
        """The name of its depth."""
        if self.role is Role.DEVICE:
            return "device"
        return tier_of(self.scope)


def tier_of(scope: Scope) -> str:
    """The name of a scope's depth."""
    depth = len(scope.lineage) - 1
    return TIERS[depth] if depth < len(TIERS) else f"tier{depth}"


@dataclass(frozen=True)
class Places:
    """A whole tree; ``[i]`` is the node with number i."""

    all: tuple[Place, ...]

    def __getitem__(self, number: int) -> Place:
        return self.all[number]

    def __len__(self) -> int:
        return len(self.all)

    def __iter__(self) -> Iterator[Place]:
        return iter(self.all)

    @property
    def devices(self) -> list[Place]:
        """Those without children."""
        return [place for place in self.all if place.role is Role.DEVICE]

    def children(self) -> dict[int, list[int]]:
        """Of every node that has any, the numbers of its children."""
        found: dict[int, list[int]] = {}
        for place in self.all:
            if place.parent is not None:
                found.setdefault(place.parent, []).append(place.id)
        return found

    def lowest(self) -> list[Place]:
        """The scopes that devices hang below."""
        below = dict.fromkeys(d.parent for d in self.devices if d.parent is not None)
        return [self.all[number] for number in below]


def scopes_of(fan_out: Sequence[int]) -> dict[str, int]:
    """The scopes of a regular tree, parents first, each with its number of devices.

    Args:
        fan_out: children of the root, of each node below it, …; last, devices of each lowest scope.
    """
    levels = [Scope()]
    found: dict[str, int] = {"/": 0}
    for depth, width in enumerate(fan_out[:-1]):
        letter = "ldstuvwxyz"[min(depth, 9)]
        levels = [above.child(f"{letter}{i}") for above in levels for i in range(width)]
        found |= {str(scope): 0 for scope in levels}
    return found | {str(scope): fan_out[-1] for scope in levels}


def grow(
    scopes: Mapping[str, int],
    machines: Sequence[Machine],
    attackers: Sequence[bool],
    modes: Sequence[str],
    servers: Machine,
) -> Places:
    """Number a tree: scopes first, by depth, then devices.

    Args:
        scopes: each with its number of devices; their parents may be left out.
        machines, attackers, modes: of each device, in the order of the scopes.
        servers: the machine of every node that is no device.
    """
    whole = {Scope.parse(text): count for text, count in scopes.items()}
    for scope in list(whole):
        for above in scope.lineage:
            whole.setdefault(above, 0)
    ordered = sorted(whole, key=lambda scope: (len(scope.lineage), str(scope)))
    lowest = [scope for scope in ordered if whole[scope]]
    domain = {scope: number for number, scope in enumerate(lowest)}
    number = {scope: at for at, scope in enumerate(ordered)}
    found = [
        Place(
            id=number[scope],
            parent=number[scope.parent] if scope.parent else None,
            scope=scope,
            role=Role.INTERIOR if scope.parent else Role.ROOT,
            domain=domain.get(scope, -1),
            machine=servers,
        )
        for scope in ordered
    ]
    for scope in lowest:
        for _ in range(whole[scope]):
            device = len(found) - len(ordered)
            found.append(
                Place(
                    id=len(found),
                    parent=number[scope],
                    scope=scope,
                    role=Role.DEVICE,
                    domain=domain[scope],
                    machine=machines[device],
                    attacker=attackers[device],
                    mode=modes[device],
                )
            )
    return Places(tuple(found))
