"""A tree's rounds under one attack, with and without the defences of its upper tier.

The lower tier aggregates each subtree's updates by trimmed mean at f₀, round after round, and adds
rehearsal of its own; the upper tier aggregates the offers, each the sum of a subtree's rounds. The
flat federation aggregates all updates of a round at once. What is measured is how far the result
lies from the sum of honest means.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aggregation import Updates, aggregate
from aggregation.audit.commitment import AuditDraw, Commitment, Parts, answer, commit
from aggregation.audit.examination import Audit, Plan, Subtree, audit, plan, recomputed
from aggregation.audit.verdict import AuditPolicy, Outcome, counted
from simulations.capture.world import Array, CaptureWorld, Shape

BASELINE = hashlib.sha256(b"baseline").digest()


@dataclass(frozen=True)
class Defence:
    """What the upper tier does.

    Attributes:
        audit: it audits its children and counts only offers that the audit lets count.
        recompute: it also has captured subtrees forward their updates, and recomputes their part.
        known: the projection was known before anyone committed, which makes the audit worthless.
        largest_f: its rule tolerates f₁ = ⌊(m−1)/2⌋ in place of 30 %.
        reassign: devices are dealt to the subtrees anew for every round, by a public draw.
    """

    name: str
    audit: bool = False
    recompute: bool = False
    known: bool = False
    largest_f: bool = False
    reassign: bool = False


DEFENCES = {
    defence.name: defence
    for defence in (
        Defence("none"),
        Defence("largest f", largest_f=True),
        Defence("reassign", reassign=True),
        Defence("reassign, largest f", reassign=True, largest_f=True),
        Defence("audit", audit=True),
        Defence("audit, largest f", audit=True, largest_f=True),
        Defence("audit, reassign", audit=True, reassign=True),
        Defence("audit, recompute", audit=True, recompute=True),
        Defence("audit, seed known", audit=True, known=True),
    )
}
KNOWN_SEED = hashlib.sha256(b"a projection that everybody knows").digest()


@dataclass(frozen=True, eq=False)
class Tier:
    """A subtree at the end of its rounds: who took part, what went in, and what it offers."""

    name: str
    nodes: tuple[tuple[int, ...], ...]
    parts: tuple[Parts, ...]
    offer: Array

    def committed(self) -> Commitment:
        """What it commits to."""
        rounds = [
            ([f"device-{i}" for i in nodes], parts, 1.0)
            for nodes, parts in zip(self.nodes, self.parts, strict=True)
        ]
        return commit(self.name, BASELINE, rounds, self.offer)


def trimmed_mean(rows: Array, f: int) -> Array:
    """The rule of every tier."""
    return aggregate("trimmed_mean", Updates(np.ascontiguousarray(rows)), f).vector


def flat(world: CaptureWorld) -> NDArray[np.float64]:
    """(d,) what one flat federation makes of the same updates."""
    rounds = [trimmed_mean(world.sent(r), world.shape.flat_f) for r in range(len(world.honest))]
    return np.asarray(np.sum(rounds, axis=0, dtype=np.float64))


def grow(
    world: CaptureWorld, rehearsal: float, rng: np.random.Generator, reassign: bool
) -> list[Tier]:
    """The lower tier's rounds.

    Args:
        rehearsal: the norm of each round's rehearsal term, in median norms of a device's update.
        reassign: devices are dealt to the subtrees anew for every round, by a public draw.
    """
    shape = world.shape
    sent = [world.sent(r) for r in range(len(world.honest))]
    places = [
        rng.permutation(shape.devices) if reassign else np.arange(shape.devices) for _ in sent
    ]
    tiers = []
    for subtree in range(shape.fan):
        nodes, parts, offer = [], [], np.zeros(sent[0].shape[1], np.float32)
        for number, updates in enumerate(sent):
            here = places[number].reshape(shape.fan, shape.fan)[subtree]
            taken = [updates[i] for i in here]
            moved = trimmed_mean(np.stack(taken), shape.f)
            term = None
            if rehearsal and number + 1 < len(sent):  # in between, before the next round
                length = rehearsal * float(np.median(np.linalg.norm(updates, axis=1)))
                way = rng.standard_normal(offer.size).astype(np.float32)
                term = way * np.float32(length / np.linalg.norm(way))
            offer = offer + moved + (0 if term is None else term)
            nodes.append(tuple(int(i) for i in here))
            parts.append(Parts(taken, moved, term))
        tiers.append(Tier(f"subtree-{subtree}", tuple(nodes), tuple(parts), offer))
    return tiers


def rehearsed(tiers: list[Tier]) -> NDArray[np.float64]:
    """(d,) the mean of what all subtrees rehearsed: no update of any device."""
    terms = [p.rehearsal for t in tiers for p in t.parts if p.rehearsal is not None]
    if not terms:
        return np.zeros(tiers[0].offer.size)
    return np.asarray(np.sum(terms, axis=0, dtype=np.float64) / len(tiers))


@dataclass(frozen=True, eq=False)
class Upper:
    """What the upper tier made of the offers, and of the audit where there was one.

    ``share``: of the bytes of forwarding every update, what the audit sent. ``counted``: offers.
    """

    vector: NDArray[np.float64]
    audit: Audit | None = None
    plan: Plan | None = None
    share: float = 0.0
    counted: int = 0


def upper(tiers: list[Tier], shape: Shape, defence: Defence, secret: bytes) -> Upper:
    """The upper tier's round; ``secret`` is for the audit's draw."""
    f = (shape.fan - 1) // 2 if defence.largest_f else shape.f
    offers = {t.name: t.offer for t in tiers}
    if not defence.audit:
        return Upper(_combined(list(offers.values()), f, tiers[0].offer.size))
    committed = [t.committed() for t in tiers]
    budget = plan(tiers[0].offer.size, committed)
    draw = KnownDraw(secret) if defence.known else AuditDraw(secret)
    asked = draw.spots(committed, budget.spots)
    subtrees = [
        Subtree(
            of,
            shape.f,
            tier.offer,
            answer(tier.parts, draw.seed, budget.rows),
            {(r, i): tier.parts[r].updates[i] for child, r, i in asked if child == of.child},
        )
        for of, tier in zip(committed, tiers, strict=True)
    ]
    found = audit(subtrees, draw, budget.rows, budget.spots, AuditPolicy(shape.flat_f), f)
    sent, verdicts = budget.total, list(found.verdicts)
    if defence.recompute:
        for number, (verdict, tier) in enumerate(zip(found.verdicts, tiers, strict=True)):
            if verdict.code == "captured":
                updates = [parts.updates for parts in tier.parts]
                offers[tier.name] = recomputed(committed[number], updates, verdict)
                sent += sum(update.nbytes for of in updates for update in of)
                verdicts[number] = replace(verdict, outcome=Outcome.CLEAN, code="recomputed")
    names, f = counted(verdicts, f)
    return Upper(
        _combined([offers[name] for name in names], f, tiers[0].offer.size),
        found,
        budget,
        sent / budget.forwarding,
        len(names),
    )


def _combined(offers: list[Array], f: int, size: int) -> NDArray[np.float64]:
    """(d,) the rule over offers; nothing moves when none counts."""
    if not offers:
        return np.zeros(size)
    return trimmed_mean(np.stack(offers), f).astype(np.float64)


@dataclass(frozen=True)
class KnownDraw(AuditDraw):
    """A draw whose projection was known before anyone committed."""

    @property
    def seed(self) -> bytes:
        """The known one."""
        return KNOWN_SEED


def held_by_colluders(tiers: list[Tier], world: CaptureWorld) -> set[str]:
    """Subtrees where, in some round, more colluders took part than the tier's rule tolerates."""
    return {
        t.name
        for t in tiers
        if any(sum(bool(world.bad[i]) for i in nodes) > world.shape.f for nodes in t.nodes)
    }


def accused(found: Audit) -> set[str]:
    """Subtrees that the audit does not call clean."""
    return {v.child for v in found.verdicts if v.outcome is not Outcome.CLEAN}
