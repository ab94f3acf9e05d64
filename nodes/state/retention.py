"""Which artefacts a node still needs, which it keeps for a while by policy, and which can go.

What is needed now is never deleted: the node could not go on without it. The past is kept by
policy: as far as a rollback or a withdrawal may go back, within a number of bytes. What is older
than that, what no event names, and what lost at the gate goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from nodes.state.event_codec import read
from nodes.state.events import Aggregated, Released
from nodes.state.interfaces import Artefacts, Events
from nodes.state.node_state import NodeState
from nodes.state.records import ZERO, Install
from protocol import Digest, ReleaseKind

log = structlog.get_logger()

MIN_AGE_S = 3600.0
"""Younger artefacts stay: another process may be about to name them."""

NEEDED, RELEASES = "needed now", "own releases, for children that were away"
RECEIPTS = "receipts for own updates"
ROLLBACKS, UNDOING = "for rollbacks", "for rollbacks above"
WITHDRAWALS, BEST = "for withdrawals", "best states before the last"

_BEST_STATES = 8


@dataclass(frozen=True)
class RetentionPolicy:
    """How much of the past a node keeps.

    Attributes:
        withdrawal_ms: how old a round may be that a withdrawal computes again.
        rollback_versions: how many versions a rollback may go back, here and above.
        max_bytes: of all artefacts; what is oldest by these measures goes first. What is needed now
            stays also beyond that.
    """

    withdrawal_ms: int
    rollback_versions: int
    max_bytes: int


@dataclass(frozen=True)
class Group:
    """Artefacts that are kept, or can go, for one reason."""

    why: str
    count: int
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What a policy does to a store.

    Attributes:
        keep: every artefact that stays, whether it is there or not.
        groups: what is there and stays, by reason. ``spare``: what goes once it is an hour old.
        missing: what is needed now and is not there.
    """

    keep: frozenset[Digest]
    groups: tuple[Group, ...]
    spare: Group
    missing: tuple[Digest, ...]

    @property
    def bytes(self) -> int:
        """The bytes of all that stays."""
        return sum(group.bytes for group in self.groups)


class _Kept(NamedTuple):
    """An artefact of the past: ``age`` is the part of its time that is over, in [0, 1]."""

    age: float
    why: str
    digest: Digest


def needed(state: NodeState) -> set[Digest]:
    """List the artefacts without which the node cannot go on as it is now."""
    own, above, offers, rounds = state.own, state.above, state.offers, state.rounds
    trained = offers.trained
    seated = rounds.open.seated.values() if rounds.open else ()
    digests = {
        own.adapter,
        offers.baseline,
        *offers.fresh,
        *(sent.copy for sent in offers.sent.values()),
        *((trained.delta, trained.adapter or ZERO) if trained else ()),
        *(digest for link in above.links for digest in (link.envelope, link.adapter)),
        above.envelope or ZERO,
        *((own.latest.envelope, own.latest.adapter) if own.latest else ()),
        *(seat.payload for seat in seated),
        *(standing.seat.payload for standing in rounds.stand_ins.values()),
        *state.best.values(),
        *(member.certificate for member in state.membership.members),
    }
    return digests - {ZERO}


def referred(state: NodeState) -> set[Digest]:
    """List every vector that a state refers to, needed now or not."""
    published, withdrawn = state.own.published.values(), state.own.withdrawn
    digests = needed(state) | {
        *(release.held.adapter for release in published),
        *(release.moved for release in published),
        *(install.effect for install in state.above.installs),
        *(offer.delta for offer in state.offers.counted),
        *(digest for states in state.gate.best_held.values() for _, digest in states),
        *(digest for each in withdrawn for digest in each.moved.values()),
    }
    return digests - {ZERO}


def plan(
    state: NodeState, ledger: Events, artefacts: Artefacts, policy: RetentionPolicy, now_ms: int
) -> Plan:
    """Decide what stays, by what the ledger says now."""
    sizes = {digest: artefacts.size(digest) for digest in artefacts.digests()}
    reasons: dict[Digest, str] = dict.fromkeys(needed(state), NEEDED)
    missing = tuple(sorted(digest for digest in reasons if digest not in sizes))
    for published in state.own.published.values():
        reasons.setdefault(published.held.envelope, RELEASES)
    for digest in _of_receipts(state):
        reasons.setdefault(digest, RECEIPTS)
    room = policy.max_bytes - sum(sizes.get(digest, 0) for digest in reasons)
    for kept in sorted(_past(state, ledger, policy, now_ms)):
        if kept.digest == ZERO or kept.digest in reasons:
            continue
        room -= sizes.get(kept.digest, 0)
        if room < 0:
            break  # what is older goes too: half of a round is of no use
        reasons[kept.digest] = kept.why
    return Plan(frozenset(reasons), _groups(reasons, sizes), _spare(reasons, sizes), missing)


def _of_receipts(state: NodeState) -> Iterator[Digest]:
    """Yield the envelopes of the receipts that a state remembers: they are small, and few."""
    for kept in state.receipts.kept.values():
        for digest in (kept.receipt, kept.release, *(kept.evidence or ())):
            if digest != ZERO:
                yield digest


def _past(
    state: NodeState, ledger: Events, policy: RetentionPolicy, now_ms: int
) -> Iterator[_Kept]:
    """Yield what the policy keeps of the past, whatever room there is."""
    yield from _for_rollbacks(state, policy.rollback_versions)
    yield from _for_rollbacks_above(state, policy.rollback_versions)
    yield from _best_states(state, min(_BEST_STATES, policy.rollback_versions))
    if state.own.by_rounds:
        yield from _for_withdrawals(state, ledger, policy.withdrawal_ms, now_ms)


def _for_rollbacks(state: NodeState, versions: int) -> Iterator[_Kept]:
    """Yield the adapters to go back to, and what to add to them of later re-bases and
    withdrawals."""
    own = state.own
    for version in range(own.version, max(0, own.version - versions), -1):
        age = (own.version - version) / versions
        if published := own.published.get(version):
            if not own.is_undone(version):
                yield _Kept(age, ROLLBACKS, published.held.adapter)
            if published.kind is ReleaseKind.REBASE:
                yield _Kept(age, ROLLBACKS, published.moved)
    for withdrawn in own.withdrawn:
        if (age := (own.version - withdrawn.version) / max(1, versions)) < 1:
            for moved in withdrawn.moved.values():
                yield _Kept(age, ROLLBACKS, moved)


def _for_rollbacks_above(state: NodeState, versions: int) -> Iterator[_Kept]:
    """Yield what to take back when an ancestor takes a release back."""
    now = {link.scope: link.version for link in state.above.links}
    for install in state.above.installs:
        if (age := _age(install, now, versions)) < 1:
            yield _Kept(age, UNDOING, install.effect)
    parent = state.above.links[-1].version if state.above.links else 0
    for offer in state.offers.counted:
        if (age := (parent - offer.version) / max(1, versions)) < 1:
            yield _Kept(max(0.0, age), UNDOING, offer.delta)


def _age(install: Install, now: Mapping[str, int], versions: int) -> float:
    """Compute how far behind is the newest release that an install brought, in [0, …)."""
    behind = [
        (now[scope] - until) / max(1, versions)
        for scope, (after, until) in install.brought.items()
        if after < until and scope in now
    ]
    return max(0.0, min(behind, default=1.0))


def _best_states(state: NodeState, last: int) -> Iterator[_Kept]:
    """Yield earlier best states: a rollback makes one of them the best again."""
    for states in state.gate.best_held.values():
        for place, (_, digest) in enumerate(reversed(states[-last:])):
            yield _Kept(place / last, BEST, digest)


def _for_withdrawals(
    state: NodeState, ledger: Events, withdrawal_ms: int, now_ms: int
) -> Iterator[_Kept]:
    """Yield what standing rounds were computed from, so that they can be computed again."""
    aggregated: Aggregated | None = None
    for entry in ledger.events([Aggregated.KIND, Released.KIND]):
        age = max(0, now_ms - entry.at_ms) / max(1, withdrawal_ms)
        if age >= 1:
            continue
        match read(entry):
            case Aggregated() as event:
                aggregated = event
            case Released(kind=ReleaseKind.ROUND) as event if aggregated is not None:
                if not state.own.is_undone(event.held.version):
                    for digest in (event.moved, event.rehearsal):
                        yield _Kept(age, WITHDRAWALS, digest)
                    for seat in aggregated.seats.values():
                        yield _Kept(age, WITHDRAWALS, seat.payload)
                aggregated = None


def _groups(reasons: Mapping[Digest, str], sizes: Mapping[Digest, int]) -> tuple[Group, ...]:
    by_reason: dict[str, list[int]] = defaultdict(list)
    for digest, why in reasons.items():
        if digest in sizes:
            by_reason[why].append(sizes[digest])
    order = (NEEDED, RELEASES, RECEIPTS, ROLLBACKS, UNDOING, WITHDRAWALS, BEST)
    return tuple(_group(why, by_reason[why]) for why in order if why in by_reason)


def _spare(reasons: Mapping[Digest, str], sizes: Mapping[Digest, int]) -> Group:
    return _group("unneeded", [size for digest, size in sizes.items() if digest not in reasons])


def _group(why: str, sizes: Iterable[int]) -> Group:
    listed = list(sizes)
    return Group(why, len(listed), sum(listed))
