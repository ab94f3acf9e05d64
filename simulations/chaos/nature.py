"""What a seed makes of the world: the tree, who is malicious, and how rough it is.

Every kind of fault is left out by some seeds and frequent in others. A world in which everything
goes wrong at once gets nowhere, and bugs beyond the first steps would never be reached.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from nodes.config.sections import NodeConfig
from simulations.world.members import settings
from simulations.world.places import Machine, Places, grow
from simulations.world.problems import Points, PointSettings

ATTACKS = (
    "sign_flip",
    "scaled_sign_flip",
    "gaussian",
    "alie",
    "ipm",
    "mimic",
    "min_max",
    "zero",
    "stale",
    "not_finite",
)
"""Attacks that cost no search."""
PIPELINES = (
    ("arc", "centred_clipping"),
    ("arc", "trimmed_mean"),
    ("nnm", "trimmed_mean"),
    ("median",),
)
LEVELS = (0.0, 0.3, 1.0, 3.0)
"""How frequent a kind of fault is in a seed, beside the others."""
SIZE, RANK = 32, 4


@dataclass(frozen=True)
class Weather:
    """What links do to mail: shares of all mail, and how long the slowest takes."""

    lost: float
    doubled: float
    late: float
    latest_s: float


@dataclass(frozen=True)
class Nature:
    """One world before its first step.

    Attributes:
        attack: what its malicious devices send when they answer.
        faults: the share of steps in which something is done to the world.
        kinds: how frequent each kind of fault is, beside the others.
    """

    places: Places
    problem: Points
    config: NodeConfig
    attack: str
    weather: Weather
    faults: float
    kinds: Mapping[str, float]


def nature(seed: int, kinds: tuple[str, ...]) -> Nature:
    """Draw a world in which these kinds of fault may happen."""
    rng = random.Random(f"nature {seed}")  # noqa: S311  what a simulation needs
    places = _tree(rng)
    problem = Points(places, PointSettings(SIZE, RANK, spread=0.3, probes=64, seed=seed))
    levels = {kind: rng.choice(LEVELS) for kind in kinds}
    if not any(levels.values()):
        levels = dict.fromkeys(kinds, 1.0)
    return Nature(
        places=places,
        problem=problem,
        config=_config(rng),
        attack=rng.choice(ATTACKS),
        weather=Weather(
            lost=rng.choice((0.0, 0.02, 0.2)),
            doubled=rng.choice((0.0, 0.05, 0.3)),
            late=rng.choice((0.0, 0.05, 0.3)),
            latest_s=rng.choice((20.0, 120.0, 600.0)),
        ),
        faults=rng.choice((0.05, 0.15, 0.35)),
        kinds=levels,
    )


def _tree(rng: random.Random) -> Places:
    """A root, two scopes, one or two scopes below one of them, and devices at the lowest ones."""
    besieged = rng.choice(("/a/x", "/b"))
    scopes = {"/": 0, "/a": 0, "/a/x": rng.randint(2, 4), "/b": rng.randint(2, 4)}
    if rng.random() < 0.4:
        scopes["/a/y"] = 2
    scopes[besieged] = rng.randint(4, 5)
    modes, attackers = [], []
    for scope in sorted((s for s in scopes if scopes[s]), key=lambda s: (s.count("/"), s)):
        count = scopes[scope]
        modes += ["plain", "personal"] + [
            rng.choice(("plain", "plain", "personal")) for _ in range(count - 2)
        ]
        attackers += [scope == besieged and at == 0 for at in range(count)]
    machine = Machine(rank=RANK)
    return grow(scopes, [machine] * len(modes), attackers, modes, machine)


def _config(rng: random.Random) -> NodeConfig:
    return settings(
        {
            "rounds": {
                "f": 1,
                "pipeline": rng.choice(PIPELINES),
                "deadline_s": rng.choice((60, 120)),
                "grace": rng.choice((0.0, 0.5)),
                "retry_s": 10,
                "resend_s": 15,
                "pause_s": rng.choice((1, 10, 30)),
                "stand_ins": rng.random() < 0.7,
                "payload_format": rng.choice(("int8", "float32")),
            },
            "promotion": {"after_s": 300},
        }
    )
