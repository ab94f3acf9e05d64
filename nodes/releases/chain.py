"""Verify a chain from its signed snapshot: whole, consistent, never older than the installed one.

A node installs only a chain that its own parent signed, in which every release is signed by the
node certified for that scope and binds the releases above it. A chain in which one ancestor moved
and the next has not yet re-based would count knowledge twice; it is refused as inconsistent.

Bytes come in through ``fetch`` and nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nodes.state.vectors import Vector, sum_of
from protocol import (
    LIMITS,
    Certificate,
    ChainEntry,
    Code,
    Digest,
    Envelope,
    Network,
    PublicKey,
    Refused,
    Release,
    Snapshot,
    chain_digest,
    decode_adapter,
    open_envelope,
)

Fetch = Callable[[Digest], bytes | None]


@dataclass(frozen=True)
class Link:
    """One verified release of a chain and its adapter θ, (d,) float32."""

    release: Release
    digest: Digest
    envelope: bytes
    adapter: bytes
    theta: Vector


@dataclass(frozen=True)
class Chain:
    """A verified chain, root first, and the sum of its adapters, (d,) float32."""

    snapshot: Snapshot
    digest: Digest
    envelope: bytes
    links: tuple[Link, ...]

    @property
    def total(self) -> Vector:
        """Θ of the chain: the sum of every adapter in it, added in float64."""
        return sum_of([link.theta for link in self.links])


@dataclass(frozen=True)
class Missing:
    """The digests that are needed before the chain can be verified."""

    digests: tuple[Digest, ...]


def verify_snapshot(
    envelope: bytes, network: Network, parent: Certificate, *, at_least: int, now_ms: int
) -> tuple[Snapshot, Digest]:
    """Verify a snapshot of the parent's chain.

    Raises ``Refused``: whatever the envelope is refused for, ``wrong-network``, ``wrong-parent``,
    ``wrong-scope``, ``version-went-back`` (its sequence is below ``at_least``), ``expired``.
    """
    sealed = Envelope.decode(envelope, LIMITS)
    snapshot = open_envelope(sealed, Snapshot, PublicKey.from_raw(parent.public_key))
    if snapshot.network != network.network:
        raise Refused(Code.WRONG_NETWORK, "The snapshot belongs to another network.")
    if snapshot.node != parent.node:
        raise Refused(Code.WRONG_PARENT, "The snapshot was signed for another node.")
    scopes = tuple(entry.scope for entry in snapshot.chain)
    if scopes != parent.scope.lineage:
        raise Refused(
            Code.WRONG_SCOPE,
            f"The snapshot lists {[str(s) for s in scopes]}, "
            f"expected every scope from / to {parent.scope}.",
        )
    if snapshot.sequence < at_least:
        raise Refused(
            Code.VERSION_WENT_BACK,
            f"The snapshot has sequence {snapshot.sequence}; this node already holds {at_least}.",
        )
    if now_ms > snapshot.expires_ms + LIMITS.clock_skew_s * 1000:
        raise Refused(Code.EXPIRED, "The snapshot has expired; the parent must sign a new one.")
    return snapshot, sealed.digest


def verify_chain(
    snapshot: Snapshot,
    digest: Digest,
    envelope: bytes,
    *,
    network: Network,
    owners: Sequence[Certificate],
    installed: Sequence[tuple[str, int]],
    size: int,
    fetch: Fetch,
) -> Chain | Missing:
    """Verify every release of a snapshot.

    Args:
        owners: the certificates of the nodes from the root to the parent.
        installed: (scope, version) of the releases this node holds now; none may go back.
        size: d, the length of an adapter.
        fetch: gives the bytes of a release envelope (by release digest) or of an adapter, or None.

    Raises ``Refused``: ``bad-signature``, ``wrong-digest``, ``inconsistent-chain``,
    ``version-went-back`` and what a malformed adapter is refused for.
    """
    missing = [
        wanted
        for entry in snapshot.chain
        for wanted in (entry.release, entry.adapter)
        if fetch(wanted) is None
    ]
    if missing:
        return Missing(tuple(missing))
    versions = dict(installed)
    links: list[Link] = []
    for entry, owner in zip(snapshot.chain, owners, strict=True):
        link = _verify_link(entry, owner, network, size, fetch)
        if link.release.ancestors != chain_digest([above.digest for above in links]):
            raise Refused(
                Code.INCONSISTENT_CHAIN,
                f"The release of {entry.scope} was based on other releases above it "
                "than the snapshot lists; it has not re-based yet.",
            )
        if entry.version < versions.get(str(entry.scope), 0):
            raise Refused(
                Code.VERSION_WENT_BACK,
                f"{entry.scope} is at version {entry.version} in the snapshot; "
                f"this node already holds {versions[str(entry.scope)]}.",
            )
        links.append(link)
    return Chain(snapshot, digest, envelope, tuple(links))


def verify_release(envelope: bytes, owner: Certificate, network: Network) -> tuple[Release, Digest]:
    """Verify one release statement against the certificate of the node that owns its scope."""
    release, digest = _signed(envelope, owner.public_key)
    if release.network != network.network:
        raise Refused(Code.WRONG_NETWORK, "The release belongs to another network.")
    if release.scope != owner.scope or release.node != owner.node:
        raise Refused(Code.WRONG_SCOPE, f"The release is not one of {owner.scope}.")
    return release, digest


@lru_cache(maxsize=64)
def _signed(envelope: bytes, key: bytes) -> tuple[Release, Digest]:
    """Verify that this key signed a release; return the release and its digest.

    Most of a new chain is what it was before: the same bytes under the same key are verified once.
    """
    sealed = Envelope.decode(envelope, LIMITS)
    return open_envelope(sealed, Release, PublicKey.from_raw(key)), sealed.digest


def _verify_link(
    entry: ChainEntry, owner: Certificate, network: Network, size: int, fetch: Fetch
) -> Link:
    envelope, adapter = fetch(entry.release), fetch(entry.adapter)
    if envelope is None or adapter is None:
        raise Refused(Code.WRONG_DIGEST, f"A part of {entry.scope} disappeared while it was read.")
    release, digest = verify_release(envelope, owner, network)
    stated = (digest, release.version, release.adapter, release.length)
    if stated != (entry.release, entry.version, entry.adapter, entry.length):
        raise Refused(
            Code.WRONG_DIGEST, f"The snapshot and the release of {entry.scope} do not agree."
        )
    if len(adapter) != release.length:
        raise Refused(
            Code.WRONG_LENGTH,
            f"The adapter of {entry.scope} has {len(adapter)} bytes, expected {release.length}.",
        )
    return Link(release, digest, envelope, adapter, decode_adapter(adapter, size, LIMITS))
