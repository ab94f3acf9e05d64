"""Publish a node's releases, each signed and one ledger event.

A release moves the node's adapter by a displacement that the ledger keeps. A rollback to an older
state takes back every displacement since, except those of re-bases, which only follow the chain
above.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nodes.errors import NodeError
from nodes.state.events import LedgerEvent, Released
from nodes.state.node import Node
from nodes.state.records import ZERO, HeldRelease
from nodes.state.vectors import Vector
from protocol import (
    LIMITS,
    Digest,
    ProbeLoss,
    Release,
    ReleaseKind,
    Span,
    Verdict,
    VerdictKind,
    chain_digest,
    decode_adapter,
    encode_adapter,
    seal,
)


@dataclass(frozen=True, kw_only=True)
class Made:
    """The making of a release; see ``protocol.Release``."""

    kind: ReleaseKind
    round: int = 0
    step: float = 0.0
    verdicts: Sequence[Verdict] = ()
    losses: Sequence[ProbeLoss] = ()
    rehearsal: Digest = ZERO


def start_root(node: Node) -> None:
    """Publish the first, empty release at a root if there is none."""

    def build() -> list[LedgerEvent]:
        if node.state.own.latest is not None:
            return []
        made = Made(kind=ReleaseKind.INITIAL)
        return [release(node, node.vector(ZERO), made)]

    node.transact(build)


def publish(node: Node, displacement: Vector, made: Made, after: int | None = None) -> int:
    """Move the node's adapter by ``displacement`` and release it; return the new version.

    The displacement is added to whatever the adapter is now: a neutral re-base may have moved it
    since the candidate was measured, without changing the effective model.

    Args:
        after: what ``state.moves`` was when the candidate was measured.

    Raises:
        NodeError: ``moved-on`` when something else changed the effective model since.
    """

    def build() -> list[LedgerEvent]:
        if after is not None and node.state.moves != after:
            raise NodeError("moved-on", "The effective model changed while a candidate was judged.")
        return [release(node, displacement, made)]

    node.transact(build)
    return node.state.own.version


def publish_by_hand(node: Node, data: bytes) -> int:
    """Release what a person decided to add to this node's adapter; return the new version.

    The gate is not asked, and earlier best states count no more. A rollback takes the displacement
    back like any other.

    Args:
        data: an adapter in the network's coordinates, as ``protocol.encode_adapter`` writes it.

    Raises:
        Refused: ``bad-tensors``, ``wrong-shape``, ``wrong-dtype``, ``not-finite``.
        NodeError: ``no-scope`` at a device, ``no-chain`` before a chain was installed,
            ``already-published`` while the same adapter stands: twice would be too much of it.
    """
    displacement = decode_adapter(data, node.size, LIMITS)
    if node.home.is_device:
        raise NodeError("no-scope", "This is a device: it owns no scope, and has no releases.")
    if node.home.parent is None:
        start_root(node)

    def build() -> list[LedgerEvent]:
        state = node.state
        if state.own.latest is None:
            raise NodeError("no-chain", "This node has no chain yet: run it once first.")
        moved = node.keep(displacement)
        for version, published in state.own.published.items():
            by_hand = published.kind == ReleaseKind.BY_HAND and published.moved == moved
            if by_hand and not state.own.is_undone(version):
                raise NodeError(
                    "already-published",
                    f"Version {version} of {node.home.scope} already added this adapter.",
                )
        made = Made(kind=ReleaseKind.BY_HAND)
        return [release(node, displacement, made)]

    node.transact(build)
    return node.state.own.version


def release(
    node: Node,
    displacement: Vector,
    made: Made,
    *,
    ancestors: Iterable[Digest] | None = None,
    undone: Sequence[tuple[int, int]] | None = None,
) -> Released:
    """Sign a release that moves the adapter, and store it; return the event to record.

    Args:
        ancestors: the releases above on which it is based; those installed by default.
        undone: the versions that stand no longer; as before by default.
    """
    state = node.state
    above = [link.release for link in state.above.links] if ancestors is None else ancestors
    spans = state.own.undone if undone is None else undone
    data = encode_adapter(node.vector(state.own.adapter) + displacement)
    statement = Release(
        network=node.home.network.network,
        node=node.home.id,
        scope=node.home.scope,
        version=state.own.version + 1,
        adapter=node.artefacts.put(data),
        length=len(data),
        dtype="float32",
        ancestors=chain_digest(list(above)),
        previous=state.own.latest.release if state.own.latest else ZERO,
        kind=made.kind,
        round=made.round,
        step=made.step,
        verdicts=tuple(made.verdicts),
        losses=tuple(made.losses),
        issued_ms=node.clock.now_ms(),
        undone=_undone(node, spans),
        rehearsal=made.rehearsal,
    )
    sealed = seal(statement, node.home.key)
    own = HeldRelease(
        str(statement.scope),
        statement.version,
        sealed.digest,
        node.artefacts.put(sealed.encode()),
        statement.adapter,
    )
    return Released(
        held=own,
        kind=made.kind,
        moved=node.keep(displacement) if displacement.any() else ZERO,
        round=made.round,
        step=made.step,
        accepted=tuple(v.node for v in made.verdicts if v.verdict is VerdictKind.ACCEPTED),
        verdicts=tuple(made.verdicts),
        losses=tuple(made.losses),
        rehearsal=made.rehearsal,
        undone=tuple(spans),
    )


def _undone(node: Node, spans: Iterable[tuple[int, int]]) -> tuple[Span, ...]:
    """List, for the nodes below, the versions whose effects are gone: not the re-bases among them.

    A re-base stays when the rounds around it are taken back. Where there are too many spans to
    name, re-bases are named too: then those below follow less of the chain than they could.
    """
    published = node.state.own.published
    gone = [
        version
        for after, until in spans
        for version in range(after + 1, until + 1)
        if version not in published or published[version].kind != ReleaseKind.REBASE
    ]
    starts = [v for v in gone if v - 1 not in gone]
    ends = [v for v in gone if v + 1 not in gone]
    named = [Span(after=a - 1, until=u) for a, u in zip(starts, ends, strict=True)]
    if len(named) > LIMITS.max_undone:
        named = [Span(after=after, until=until) for after, until in spans]
    return tuple(named)
