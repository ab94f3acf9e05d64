"""``banyan sim kills``: SIGKILL the nodes of a running network at random, beside a twin left alone.

The twin has the same seed: the same text arrives at the same devices in the same order. Both learn
until they have closed as many rounds; then the ledgers say what became of every update, and both
are measured on the same held-out text. What differs between two undisturbed runs (which update met
which round) differs here too; losses are compared, not bits.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.serving.held import held
from nodes.state.home import open_home
from protocol import Role
from simulations.demo.run import ENVIRONMENT
from simulations.processes import Say, Supervisor, terminable
from simulations.soak.audit import Audit, audit
from simulations.soak.network import SYSTEMS, Network, make, wait_until
from simulations.soak.policy import Check

START_LIMIT_S = 300.0
SETTLE_LIMIT_S = 600.0
FEED_DOCUMENTS = 4
HELD = 48
"""Held-out documents of each lowest scope."""
LOSS_SHARE = 0.01
AWAY_S = (0.0, 0.0, 1.0, 3.0)
"""Seconds that a killed node stays away, one drawn for each kill."""


def run_kills(folder: Path, *, kills: int, every_s: float, seed: int, say: Say) -> dict[str, Any]:
    """Run both networks below ``folder``, one after the other; writes ``kills.json``.

    Args:
        every_s: seconds from one kill to the next on average; both networks get text as often.

    Raises ``NodeError`` ``exists`` when the folder holds nodes already.
    """
    if (folder / "killed").exists():
        raise NodeError("exists", f"{folder} holds an earlier run; remove it or name another.")
    folder.mkdir(parents=True, exist_ok=True)
    killed, done, moments = _run(folder / "killed", kills, every_s, seed, say)
    twin, twin_done, _ = _run(folder / "twin", 0, every_s, seed, say, like=(kills, done))
    audits = {
        name: audit(p.folder for p in n.placed) for name, n in (("killed", killed), ("twin", twin))
    }
    losses = {name: held_out(network) for name, network in (("killed", killed), ("twin", twin))}
    checks = _checks(audits, losses, kills, moments)
    report = {
        "seed": seed,
        "kills": moments,
        "killed_by_role": dict(Counter(m["role"] for m in moments)),
        "rounds": {"killed": done, "twin": twin_done},
        "audit": {name: asdict(found) for name, found in audits.items()},
        "losses": losses,
        "checks": [asdict(check) for check in checks],
        "passed": all(check.holds for check in checks),
    }
    (folder / "kills.json").write_text(json.dumps(report, indent=1), "utf-8")
    return report


def _run(
    folder: Path,
    kills: int,
    every_s: float,
    seed: int,
    say: Say,
    like: tuple[int, dict[str, int]] | None = None,
) -> tuple[Network, dict[str, int], list[dict[str, Any]]]:
    """Run one network; returns it, the rounds of its parents, and when whom a kill hit.

    Args:
        like: the kills and rounds of the network whose twin this is: as much text, and no fewer
            rounds at a lowest scope.
    """
    rng = random.Random(f"kills {seed}")  # noqa: S311  what a simulation needs
    moments: list[dict[str, Any]] = []
    with terminable(), Supervisor(ENVIRONMENT, "simulations.demo.preload") as supervisor:
        network = make(folder / "nodes", seed, supervisor)
        network.start()
        network.wait_for_releases(START_LIMIT_S)
        started = time.monotonic()
        for number in range(like[0] if like else kills):
            network.feed(FEED_DOCUMENTS)
            _pass(network, rng.uniform(0.2, 1.8) * every_s)
            if like:
                continue
            # Over all roles alike: there are more devices than parents.
            role = (Role.ROOT, Role.INTERIOR, Role.DEVICE)[number % 3]
            name = rng.choice([p.plan.name for p in network.placed if p.plan.role is role])
            network.kill(name)
            at_s, away_s = time.monotonic() - started, rng.choice(AWAY_S)
            moments.append(
                {"node": name, "role": role.value, "at_s": round(at_s, 2), "away_s": away_s}
            )
            _pass(network, away_s, but=name)
            network.start(name)
            if (number + 1) % 10 == 0:
                say(f"{number + 1} of {kills} kills")
        wanted = like[1] if like else _lowest_rounds(network, beyond=3)
        for _ in wait_until(time.monotonic() + SETTLE_LIMIT_S):
            _check_alive(network)
            if all(network.status(name).round >= rounds for name, rounds in wanted.items()):
                break
        else:
            raise NodeError("too-slow", f"{folder.name}: no further rounds; the logs say why.")
    done = {name: network.status(name).round for name in wanted}
    say(f"{folder.name}: {time.monotonic() - started:.0f} s, rounds {done}")
    return network, done, moments


def _lowest_rounds(network: Network, beyond: int) -> dict[str, int]:
    """So many rounds more than now, of each parent of devices."""
    names = [p.plan.name for p in network.parents if str(p.plan.scope) in SYSTEMS]
    return {name: network.status(name).round + beyond for name in names}


def _pass(network: Network, seconds: float, but: str = "") -> None:
    """Let time pass; a node that ends by itself is an error."""
    for _ in wait_until(time.monotonic() + seconds, every_s=0.5):
        _check_alive(network, but)


def _check_alive(network: Network, but: str = "") -> None:
    for name, status in network.dead():
        if name != but:
            raise NodeError("node-died", f"{name} ended by itself with status {status}.")


def held_out(network: Network) -> dict[str, float]:
    """The loss of every lowest scope's effective model on held-out text, nats per token."""
    from nodes.model.basis import from_bytes
    from nodes.model.effective import EffectiveModel

    losses: dict[str, float] = {}
    model: EffectiveModel | None = None
    for place in network.parents:
        scope = str(place.plan.scope)
        if scope not in SYSTEMS:
            continue
        home = open_home(place.folder, SystemClock().now_ms())
        if model is None:
            basis = from_bytes(home.basis_file.read_bytes(), home.layout)
            model = EffectiveModel(network.base, home.layout, basis)
        theta = held(home).theta
        for name, vector in ((scope, theta), (f"{scope}, base", np.zeros_like(theta))):
            model.set_theta(vector)
            texts = network.dealt[scope].held[:HELD]
            losses[name] = float(model.sequence_losses(texts)[0].mean())
    return losses


def _checks(
    audits: dict[str, Audit],
    losses: dict[str, dict[str, float]],
    kills: int,
    moments: list[dict[str, Any]],
) -> list[Check]:
    killed = audits["killed"]
    apart = {
        scope: abs(loss - losses["twin"][scope]) / losses["twin"][scope]
        for scope, loss in losses["killed"].items()
    }
    shown = ", ".join(
        f"{scope} {share:.2%}" for scope, share in apart.items() if "base" not in scope
    )
    return [
        Check(f"{kills} kills over all roles", len(moments) == kills, f"{len(moments)} kills"),
        Check(
            "no accepted update is lost",
            not killed.lost,
            "; ".join(killed.lost) or f"{killed.accepted} accepted, {killed.counted} counted",
        ),
        Check("no update is counted twice", not killed.doubled, "; ".join(killed.doubled)),
        Check(
            "every ledger verifies",
            not killed.broken,
            "; ".join(killed.broken) or f"{killed.events:,} events",
        ),
        Check(
            f"held-out loss is that of the twin within {LOSS_SHARE:.0%}",
            max(apart.values()) <= LOSS_SHARE,
            shown,
        ),
    ]
