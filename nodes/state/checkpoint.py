"""Checkpoints: the state that a ledger folds to, written down, so that a start folds only the rest.

A checkpoint names the event up to which it was folded and that event's digest. One that is damaged,
of another format or of another ledger is passed over, and the ledger is folded from its start. It
holds plain values, checked when they are read; nothing in it is executed.

``FORMAT`` must be raised whenever ``NodeState`` or a part of it changes its shape, or an event
changes the state in another way than before: a test compares what the golden ledgers fold to.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache

import structlog
from pydantic import TypeAdapter, ValidationError

from nodes.state.chain_above import ChainAbove
from nodes.state.event_codec import read
from nodes.state.events import Withdrawn
from nodes.state.fates import Fates
from nodes.state.gate_history import GateHistory
from nodes.state.interfaces import Beside, Events
from nodes.state.ledger import START, Head
from nodes.state.node_state import NodeState
from nodes.state.offers import Offers
from nodes.state.own_releases import OwnReleases
from nodes.state.receipts_kept import ReceiptsKept
from nodes.state.records import Published
from nodes.state.rounds import Rounds
from protocol import Certificate, Digest, Membership, MembershipParts, ProtocolError

FORMAT = 3

log = structlog.get_logger()


@dataclass(frozen=True)
class _Own:
    """``OwnReleases`` without what follows from the rest of it."""

    version: int
    adapter: Digest
    published: tuple[Published, ...]
    undone: tuple[tuple[int, int], ...]
    withdrawn: tuple[Withdrawn, ...]


@dataclass(frozen=True)
class _Plain:
    """A ``NodeState`` in values that JSON has."""

    own: _Own
    above: ChainAbove
    offers: Offers
    rounds: Rounds
    gate: GateHistory
    sequence: int
    moves: int
    moment: int
    membership: MembershipParts
    fates: Fates
    receipts: ReceiptsKept


def encode(state: NodeState, position: Head) -> bytes:
    """Write down the state that a ledger folds to up to an event."""
    own = state.own
    plain = _Plain(
        own=_Own(
            own.version,
            own.adapter,
            tuple(own.published.values()),
            tuple(own.undone),
            tuple(own.withdrawn),
        ),
        above=state.above,
        offers=state.offers,
        rounds=state.rounds,
        gate=state.gate,
        sequence=state.sequence,
        moves=state.moves,
        moment=state.moment,
        membership=state.membership.to_plain(),
        fates=state.fates,
        receipts=state.receipts,
    )
    body = _adapter().dump_json(plain)
    head = {"format": FORMAT, "seq": position.seq, "digest": position.digest, "sha256": _sum(body)}
    return json.dumps(head).encode() + b"\n" + body


def decode(data: bytes, path: tuple[Certificate, ...] = ()) -> tuple[NodeState, Head] | None:
    """Read a checkpoint; None for one that is damaged or of another format.

    Args:
        path: the certificates from the root to the node, for the rules of membership.
    """
    first, _, body = data.partition(b"\n")
    try:
        head = json.loads(first)
        if head["format"] != FORMAT or head["sha256"] != _sum(body):
            return None
        plain = _adapter().validate_json(body)
        membership = Membership.from_plain(plain.membership, path)
        position = Head(int(head["seq"]), Digest(head["digest"]))
    except (ValueError, TypeError, KeyError, ValidationError, ProtocolError):
        return None
    own = OwnReleases.of(
        plain.own.version,
        plain.own.adapter,
        plain.own.published,
        list(plain.own.undone),
        list(plain.own.withdrawn),
    )
    parts = (plain.above, plain.offers, plain.rounds, plain.gate)
    counts = (plain.sequence, plain.moves, plain.moment)
    return NodeState(own, *parts, *counts, membership, plain.fates, plain.receipts), position


def restore(
    ledger: Events, beside: Beside | None, path: tuple[Certificate, ...] = ()
) -> tuple[NodeState, Head]:
    """Read the last checkpoint, if it is one of this ledger; else begin with nothing."""
    if beside and (data := beside.checkpoint()):
        restored = decode(data, path)
        if restored and has(ledger, restored[1]):
            return restored
        log.warning("checkpoint-passed-over")
    return NodeState(membership=Membership(path)), Head(0, START)


def has(ledger: Events, position: Head) -> bool:
    """Return whether a ledger has this event."""
    entry = next(ledger.events(after=position.seq - 1), None)
    return entry is not None and (entry.seq, entry.digest) == position


def current(ledger: Events, beside: Beside | None) -> NodeState:
    """Read the state as of a ledger's last event; change nothing."""
    state, head = restore(ledger, beside)
    for entry in ledger.events(after=head.seq):
        state.apply(read(entry), entry.at_ms)
    return state


def _sum(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@cache
def _adapter() -> TypeAdapter[_Plain]:
    return TypeAdapter(_Plain)
