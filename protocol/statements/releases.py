"""The statements a parent publishes: releases of its adapter, snapshots of the chain down to it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from protocol import banyan_pb2
from protocol.ids import Digest, NodeId, check_digest
from protocol.limits import LIMITS
from protocol.statements.base import Nested, Part, Statement, payload_type
from protocol.statements.kinds import (
    Choice,
    Count,
    DigestField,
    DigestOrNone,
    Hex,
    Label,
    Length,
    Loss,
    Many,
    Milliseconds,
    NodeField,
    Ordinal,
    Real,
    ReasonOrNone,
    ScopeField,
    Share,
    Text,
)


class VerdictKind(StrEnum):
    """What became of a child's update, or of its absence."""

    ACCEPTED = "accepted"
    OUTVOTED = "outvoted"
    REFUSED = "refused"
    STAND_IN = "stand-in"


class ReleaseKind(StrEnum):
    """What made a release. ``by-hand``: a person added an adapter from a file."""

    INITIAL = "initial"
    ROUND = "round"
    REBASE = "rebase"
    ROLLBACK = "rollback"
    WITHDRAWAL = "withdrawal"
    BY_HAND = "by-hand"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict(Part):
    """What became of one update. ``update`` is empty if there was none that could be read.

    ``share`` is the part of the aggregate that came from it, from 0 to 1; 1/n if all count alike.
    """

    MESSAGE = banyan_pb2.Verdict

    node: NodeField
    update: DigestOrNone
    verdict: Annotated[VerdictKind, Choice(VerdictKind, "VerdictKind")]
    code: ReasonOrNone
    share: Share


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeLoss(Part):
    """Mean loss on the probes of one source before and after, nats per token, over ``count``."""

    MESSAGE = banyan_pb2.ProbeLoss

    source: Label
    before: Loss
    after: Loss
    count: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Span(Part):
    """The versions above ``after`` up to ``until``."""

    MESSAGE = banyan_pb2.Span

    after: Ordinal
    until: Ordinal

    def _contradiction(self) -> str:
        return "" if self.after < self.until else "it holds no version"

    def __contains__(self, version: int) -> bool:
        return self.after < version <= self.until


@dataclass(frozen=True, kw_only=True, slots=True)
class Release(Statement):
    """A new version of a scope's adapter, signed by the node that owns the scope.

    ``adapter`` and ``length`` are the digest and the size in bytes of the encoded adapter.
    ``ancestors`` is the ``chain_digest`` of the releases above on which it was based, ``previous``
    the release before it (empty for the first). ``step`` is η, 0 when no round made the release.
    ``undone`` lists the versions that rollbacks have taken back up to this one, so that whoever
    missed a rollback learns of it from any later release. ``rehearsal`` is the digest of the part
    of the change that the node learned from its own replay buffer, empty if there is none.
    """

    PAYLOAD_TYPE = payload_type("release")
    MESSAGE = banyan_pb2.Release

    network: DigestField
    node: NodeField
    scope: ScopeField
    version: Ordinal
    adapter: DigestField
    length: Length
    dtype: Annotated[str, Text("float32")]
    ancestors: DigestField
    previous: DigestOrNone
    kind: Annotated[ReleaseKind, Choice(ReleaseKind, "ReleaseKind")]
    round: Count
    step: Annotated[float, Real(0.0, 1e3)]
    verdicts: Annotated[tuple[Verdict, ...], Many(Nested(Verdict), 0, LIMITS.max_verdicts)]
    losses: Annotated[tuple[ProbeLoss, ...], Many(Nested(ProbeLoss), 0, LIMITS.max_probe_sources)]
    issued_ms: Milliseconds
    undone: Annotated[tuple[Span, ...], Many(Nested(Span), 0, LIMITS.max_undone)]
    rehearsal: DigestOrNone

    def _contradiction(self) -> str:
        if (self.version == 1) != (self.previous == ""):
            return "the first version, and only that one, has no release before it"
        edges = [edge for span in self.undone for edge in (span.after, span.until)]
        if edges != sorted(set(edges)) or (edges and edges[-1] >= self.version):
            return "the spans that it undoes are not apart, in order and before it"
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainEntry(Part):
    """One adapter of a chain: whose it is, which version, and what it must be."""

    MESSAGE = banyan_pb2.ChainEntry

    scope: ScopeField
    node: NodeField
    version: Ordinal
    release: DigestField
    adapter: DigestField
    length: Length


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot(Statement):
    """The whole chain from the root to the signer's scope, signed by the owner of the last scope.

    ``sequence`` never goes back. ``revoked`` lists the signer's children that are members no more.
    """

    PAYLOAD_TYPE = payload_type("snapshot")
    MESSAGE = banyan_pb2.Snapshot

    network: DigestField
    node: NodeField
    sequence: Count
    chain: Annotated[tuple[ChainEntry, ...], Many(Nested(ChainEntry), 1, LIMITS.max_chain)]
    revoked: Annotated[tuple[NodeId, ...], Many(Hex(), 0, LIMITS.max_revoked, distinct=True)]
    issued_ms: Milliseconds
    expires_ms: Milliseconds

    def _contradiction(self) -> str:
        if tuple(entry.scope for entry in self.chain) != self.chain[-1].scope.lineage:
            return "the chain does not list every scope from the root down, once and in order"
        if self.chain[-1].node != self.node:
            return "the last scope of the chain is not the signer's"
        if self.expires_ms < self.issued_ms:
            return "expires_ms is before issued_ms"
        return ""


def chain_digest(releases: Sequence[Digest]) -> Digest:
    """The digest of a chain of releases, root first; also of the empty one.

    It is taken over the raw digests, which all have the same length, so no two chains share it.
    """
    raw = b"".join(bytes.fromhex(check_digest(release)) for release in releases)
    return Digest(hashlib.sha256(b"banyan.chain.v1:" + raw).hexdigest())
