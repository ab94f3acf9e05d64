"""Rebuild a lost ledger from what signatures prove.

Proven are the node's own releases, as far as each names the one before it, the certificates that it
signed, and the chain above that its newest release was based on. Not proven, and so not taken over:
which members were revoked since (all stay shut out until a person confirms them), which offers the
parent counted (nothing is on offer: what was learned is kept, and none of it is counted twice), the
updates of earlier rounds (they cannot be withdrawn any more), uses of probes. A personal device's
own adapter was never signed: it begins with the chain.

Versions, the sequence of snapshots and the numbers of rounds never go back: they continue above
everything that was seen. If a newer release than the proven ones is known of, nothing is rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.releases.chain import Chain, verify_chain, verify_snapshot
from nodes.state.artefacts import ArtefactStore
from nodes.state.event_codec import read, write
from nodes.state.events import (
    ChainInstalled,
    LedgerEvent,
    MemberEnrolled,
    MemberRevoked,
    MemberSuspended,
    NodeCreated,
    Recovered,
)
from nodes.state.folder_lock import FolderLock
from nodes.state.home import Home
from nodes.state.ledger import Ledger
from nodes.state.ledger_files import LedgerFiles, Mark, check_not_lost
from nodes.state.node import Node
from nodes.state.node_state import NodeState
from nodes.state.records import ZERO, HeldRelease, Published
from protocol import (
    LIMITS,
    Certificate,
    Digest,
    Envelope,
    Member,
    NodeId,
    ProtocolError,
    PublicKey,
    Release,
    ReleaseKind,
    Snapshot,
    chain_digest,
    decode_adapter,
    digest_of,
    encode_adapter,
    open_envelope,
)

MARGIN = 1000
"""By how much sequences and rounds jump ahead: some may have passed that nothing here proves."""

_LARGEST_ENVELOPE = 1 << 20


@dataclass(frozen=True)
class Recovery:
    """The result of a recovery.

    Attributes:
        version: of the newest proven release. ``proven``: how many releases are known again.
        confirmed, unconfirmed: members, by name, that are active, and that stay shut out.
        suspended: members that were confirmed, and suspended before.
        revoked: members of whom a revocation is known.
        chain: whether the chain above is known again.
        ledger: where the old ledger was put, if there was one.
    """

    version: int
    proven: int
    confirmed: tuple[str, ...]
    unconfirmed: tuple[str, ...]
    suspended: tuple[str, ...]
    revoked: tuple[str, ...]
    chain: bool
    ledger: str | None


@dataclass
class _Found:
    """What the artefacts hold that somebody signed; each by the digest of its stored envelope."""

    releases: list[tuple[Digest, Digest, Release]] = field(default_factory=list)
    certificates: dict[Digest, Certificate] = field(default_factory=dict)
    above: dict[Digest, bytes] = field(default_factory=dict)
    snapshots: list[tuple[Snapshot, Digest, bytes]] = field(default_factory=list)
    sequence: int = 0
    revoked: set[NodeId] = field(default_factory=set)


def recover(
    home: Home,
    clock: Clock,
    others: Sequence[Path] = (),
    is_confirmed: Callable[[Member], bool] = lambda _: False,
) -> Recovery:
    """Rebuild the ledger of a node that lost it; nothing is written before all of it is proven.

    Args:
        others: folders with artefacts of other nodes, whose signed parts are taken over.
        is_confirmed: which members a person confirms.

    Raises:
        NodeError: ``nothing-to-recover`` where the ledger holds, ``already-running`` beside a
            daemon, ``unproven-release`` when a newer release, or its adapter, is known of and not
            there.
    """
    with FolderLock(home.folder):
        if _is_whole(home, clock):
            raise NodeError(
                "nothing-to-recover", f"The ledger of {home.folder} is there and whole."
            )
        store = ArtefactStore(home.folder / "artefacts")
        found, told, mark = (
            _found(home, store, others),
            _told(home),
            LedgerFiles(home.folder).mark(),
        )
        published, undone = _own(home, store, found)
        _check_newest(home, published, max(mark.version if mark else 0, told.own.version))
        members = _members(home, found)
        revoked = found.revoked | set(told.membership.revoked)
        active = {m.node for m in members if m.node not in revoked and is_confirmed(m)}
        suspended = active & set(told.membership.suspended)
        chain = _chain_above(home, store, found)
        held = published[-1].held if published else None
        rounds = [release.round for _, _, release in found.releases]
        recovered = Recovered(
            published=tuple(published),
            undone=undone,
            sequence=MARGIN
            + max(mark.sequence if mark else 0, told.sequence, found.sequence, len(rounds)),
            round=MARGIN + max(mark.round if mark else 0, told.rounds.next, *rounds, 1),
            tests=max(mark.tests if mark else 0, told.gate.tests, len(rounds)),
        )
        events: list[LedgerEvent] = [
            NodeCreated(node=home.id, scope=str(home.scope)),
            *(MemberEnrolled.from_member(member) for member in members),
            *(MemberRevoked(child=m.node) for m in members if m.node not in active),
            *(MemberSuspended(child=m.node) for m in members if m.node in suspended),
            *([_installed(store, chain)] if chain else []),
            recovered,
        ]
        aside = _write(home, clock, events, held.version if held else 0)
    return Recovery(
        version=held.version if held else 0,
        proven=len(published),
        confirmed=tuple(m.name for m in members if m.node in active - suspended),
        unconfirmed=tuple(m.name for m in members if m.node not in active | revoked),
        suspended=tuple(m.name for m in members if m.node in suspended),
        revoked=tuple(m.name for m in members if m.node in revoked),
        chain=chain is not None,
        ledger=str(aside) if aside else None,
    )


def _is_whole(home: Home, clock: Clock) -> bool:
    try:
        check_not_lost(home.folder, home.ledger_file)
        node = Node(home, clock)
        try:
            node.ledger.verify()
        finally:
            node.close()
    except NodeError as error:
        if error.code in {"disk-full", "disk-error", "database-busy", "newer-database"}:
            raise
        return False
    return True


def _told(home: Home) -> NodeState:
    """Fold what can still be read of the old ledger, up to the first damage."""
    state = NodeState()
    try:
        with Ledger.open_read_only(home.ledger_file) as ledger:
            for entry in ledger.events():
                state.apply(read(entry), entry.at_ms)
    except NodeError:
        pass  # what came before is what can be read
    return state


def _found(home: Home, store: ArtefactStore, others: Sequence[Path]) -> _Found:
    """Look through all stored envelopes; take over from others what this node signed."""
    found = _Found()
    for data in _small_files([home.folder / "artefacts", *others]):
        _sort(home, store, data, found)
    wanted = {release.adapter for _, _, release in found.releases} - set(store.digests())
    for folder in others:
        for path in folder.rglob("*"):
            if path.name in wanted and path.is_file():
                data = path.read_bytes()
                if digest_of(data) == path.name:
                    store.put(data)
    return found


def _small_files(folders: Sequence[Path]) -> Iterator[bytes]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size <= _LARGEST_ENVELOPE:
                yield path.read_bytes()


def _sort(home: Home, store: ArtefactStore, data: bytes, found: _Found) -> None:
    """Keep what one file holds, if this node or one above it signed it."""
    try:
        sealed = Envelope.decode(data, LIMITS)
        kind, own = sealed.payload_type, home.key.public
        if kind == Release.PAYLOAD_TYPE:
            if _signed_by(sealed, own):
                release = open_envelope(sealed, Release, own)
                if (release.network, release.scope) == (home.network.network, home.scope):
                    found.releases.append((sealed.digest, store.put(data), release))
            else:
                found.above[sealed.digest] = data
        elif kind == Certificate.PAYLOAD_TYPE:
            certificate = open_envelope(sealed, Certificate, own)
            if certificate.node != home.id:
                found.certificates[store.put(data)] = certificate
        elif kind == Snapshot.PAYLOAD_TYPE:
            if _signed_by(sealed, own):  # a child had it
                snapshot = open_envelope(sealed, Snapshot, own)
                if snapshot.sequence > found.sequence:
                    found.sequence, found.revoked = snapshot.sequence, set(snapshot.revoked)
            elif home.parent is not None:
                key = PublicKey.from_raw(home.parent.public_key)
                found.snapshots.append((open_envelope(sealed, Snapshot, key), sealed.digest, data))
    except ProtocolError:
        return  # no envelope, or one that nobody here signed


def _signed_by(sealed: Envelope, key: PublicKey) -> bool:
    """Return whether an envelope says that this key signed it."""
    return any(signature.keyid == key.keyid for signature in sealed.signatures)


def _own(
    home: Home, store: ArtefactStore, found: _Found
) -> tuple[list[Published], tuple[tuple[int, int], ...]]:
    """Return the proven releases, oldest first, and the spans that stand no longer."""
    by_digest = {digest: (envelope, release) for digest, envelope, release in found.releases}
    if not by_digest:
        return [], ()
    at = max(by_digest, key=lambda d: (by_digest[d][1].version, by_digest[d][1].issued_ms))
    newest, chain = by_digest[at][1], []
    while at in by_digest and store.intact(by_digest[at][1].adapter):
        envelope, release = by_digest[at]
        chain.append((at, envelope, release))
        at = release.previous
    published: list[Published] = []
    before = None
    for moment, (digest, envelope, release) in enumerate(reversed(chain), start=1):
        theta = decode_adapter(store.get(release.adapter), home.layout.size, LIMITS)
        # How the oldest moved is not known and not asked for: nothing goes back beyond it.
        moved = store.put(encode_adapter(theta - before)) if before is not None else ZERO
        held = HeldRelease(str(home.scope), release.version, digest, envelope, release.adapter)
        published.append(Published(held, release.kind, moved, moment))
        before = theta
    kinds = {each.held.version: each.kind for each in published}
    spans = [(span.after, span.until) for span in newest.undone]
    if not published or published[-1].held.version != newest.version:
        raise NodeError(
            "unproven-release",
            f"The adapter of version {newest.version} of {home.scope} is not in {home.folder}, "
            f"digest {newest.adapter}. Every child that follows has it: name the folder of one "
            "with --artefacts.",
        )
    return published, tuple(_with_rebases(spans, kinds))


def _with_rebases(
    spans: Collection[tuple[int, int]], kinds: dict[int, ReleaseKind]
) -> Iterator[tuple[int, int]]:
    """Add to spans the re-bases around which they were signed: those stand no longer either."""
    for after, until in sorted(spans):
        while kinds.get(until + 1) is ReleaseKind.REBASE:
            until += 1
        yield after, until


def _check_newest(home: Home, published: Sequence[Published], known: int) -> None:
    """Check that no release newer than the proven ones is known of."""
    newest = published[-1].held.version if published else 0
    known = max(known, int(home.parent is None))  # a root has released since it was made
    if not home.is_device and newest < known:
        raise NodeError(
            "unproven-release",
            f"{home.scope} released version {known}, and the newest that can be proven is "
            f"{newest or 'none'}. Every child that follows has it: name the folder of one with "
            "--artefacts.",
        )


def _members(home: Home, found: _Found) -> list[Member]:
    """Return the member that each child's newest certificate makes."""
    newest: dict[NodeId, tuple[Digest, Certificate]] = {}
    for digest, certificate in found.certificates.items():
        if certificate.parent == home.id and certificate.network == home.network.network:
            known = newest.get(certificate.node)
            if known is None or _age(certificate) > _age(known[1]):
                newest[certificate.node] = digest, certificate
    ordered = sorted(newest.values(), key=lambda found: _age(found[1]))
    return [Member.of(certificate, digest) for digest, certificate in ordered]


def _age(certificate: Certificate) -> tuple[int, int]:
    return certificate.key_epoch, certificate.valid_from_ms


def _chain_above(home: Home, store: ArtefactStore, found: _Found) -> Chain | None:
    """Return the newest chain on which the newest own release was based, if all of it is there."""
    own = max((release for _, _, release in found.releases), key=lambda r: r.version, default=None)
    if home.parent is None or own is None:
        return None
    for snapshot, _, data in sorted(found.snapshots, key=lambda s: s[0].sequence, reverse=True):
        if chain_digest([entry.release for entry in snapshot.chain]) != own.ancestors:
            continue
        try:
            now = snapshot.issued_ms
            checked, digest = verify_snapshot(
                data, home.network, home.parent, at_least=0, now_ms=now
            )
            chain = verify_chain(
                checked,
                digest,
                data,
                network=home.network,
                owners=home.path[:-1],
                installed=(),
                size=home.layout.size,
                fetch=lambda d: found.above.get(d) or (store.get(d) if store.has(d) else None),
            )
        except (ProtocolError, NodeError):
            continue
        if isinstance(chain, Chain):
            return chain
    return None


def _installed(store: ArtefactStore, chain: Chain) -> ChainInstalled:
    return ChainInstalled(
        snapshot=chain.digest,
        envelope=store.put(chain.envelope),
        sequence=chain.snapshot.sequence,
        chain=tuple(
            HeldRelease(
                str(link.release.scope),
                link.release.version,
                link.digest,
                store.put(link.envelope),
                store.put(link.adapter),
            )
            for link in chain.links
        ),
    )


def _write(home: Home, clock: Clock, events: Sequence[LedgerEvent], version: int) -> Path | None:
    """Put the old ledger aside and the new one in its place; return where the old one is."""
    path, fresh = home.ledger_file, home.folder / "ledger.sqlite.new"
    fresh.unlink(missing_ok=True)
    with Ledger.open(fresh, clock.now_ms) as ledger:
        head = ledger.append_all([write(event) for event in events])[-1]
        state = NodeState.from_ledger(ledger)
    aside = path.with_name(f"{path.name}.lost-{clock.now_ms()}") if path.exists() else None
    for suffix in ("-wal", "-shm", ""):
        old = path.with_name(path.name + suffix)
        if aside and old.exists():
            old.replace(aside.with_name(aside.name + suffix))
    files = LedgerFiles(home.folder)
    files.forget_checkpoint()
    fresh.replace(path)
    files.write_mark(
        Mark(
            home.id, head.seq, head.digest, version, state.sequence, state.rounds.next,
            state.gate.tests,
        )
    )  # fmt: skip
    return aside
