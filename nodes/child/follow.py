"""Follow the parent's chain: fetch it, verify it, judge what it changes, install it.

A snapshot comes with a task of the parent, or from whoever has it: who signed it decides, not who
brings it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from nodes.child import receipts
from nodes.child.rebase import Change, change_of, install
from nodes.errors import NodeError
from nodes.learning.trials import Judged, Probes
from nodes.releases.chain import (
    Chain,
    Fetch,
    Missing,
    verify_chain,
    verify_release,
    verify_snapshot,
)
from nodes.state.artefacts import ArtefactError
from nodes.state.node import Node
from nodes.state.records import ZERO
from nodes.state.vectors import sum_of
from protocol import (
    LIMITS,
    Certificate,
    Code,
    Digest,
    Envelope,
    PublicKey,
    Refused,
    Snapshot,
    Task,
    digest_of,
)

log = structlog.get_logger()

Blobs = Mapping[str, bytes]
"""The parts of a message by their names."""

RELEASE_PREFIX = "release/"

Judge = Callable[[Change], Judged]
"""Chooses by which share ρ a node with an adapter follows a change above."""

KEPT_BYTES = 16 * 1024 * 1024
"""The most bytes of releases that are kept until the rest of a chain has arrived."""

MOST_TRIALS = 3
"""How often a chain is judged again because the node's own adapter moved meanwhile."""


MISSING, WAITS_FOR_RECEIPTS, NOTHING_NEWER = "missing", "waits-for-receipts", "nothing-newer"
"""Why a snapshot that came without a task is not installed."""

MOST_UNASKED = LIMITS.max_chain + 64
"""The most releases that may come with such a snapshot."""


@dataclass(frozen=True)
class Followed:
    """What became of a snapshot that came without a task.

    Attributes:
        code: empty if it is installed, else ``missing``, ``waits-for-receipts``,
            ``nothing-newer``.
        missing: digests of what has to come first: releases and adapters of the chain, or the
            earlier release of the parent that has to be read for its verdicts.
    """

    snapshot: Snapshot
    code: str = ""
    missing: tuple[Digest, ...] = ()


class Follower:
    """Brings the chain above a node up to its parent's snapshot.

    Args:
        judge: by which share to follow; by default the largest that the node's probes tolerate.
        now_ms: the parent's time; by default this machine's.

    Attributes:
        lock: held while a chain is followed: tasks and siblings bring snapshots from two threads.
    """

    def __init__(
        self,
        node: Node,
        parent: Certificate,
        probes: Probes,
        judge: Judge | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._node, self._parent, self._probes = node, parent, probes
        self._judge = judge or self._largest_tolerated
        self._now_ms = now_ms or node.clock.now_ms
        self.lock = threading.RLock()
        self._harmful: dict[Digest, str] = {}
        self._kept: dict[Digest, bytes] = {}
        """Releases that came before the rest of what they belong to; not verified yet."""

    def follow(self, task: Task, blobs: Blobs) -> tuple[Digest, ...]:
        """Install the chain that a task names; return what is missing for that.

        Raises ``Refused`` for what does not verify, ``NodeError`` ``harmful-chain`` when a plain
        device keeps its old chain, ``moved-on`` when its own adapter keeps moving meanwhile.
        """
        with self.lock:
            came = _by_digest(blobs)
            # The change to a new chain is computed from the one that is installed: it must be
            # whole.
            if lacking := self._mend(came.get):
                return lacking
            if task.snapshot == self._node.state.above.snapshot:
                return ()
            if "snapshot" not in blobs:
                return (task.snapshot,)
            snapshot, digest = self._verified(blobs["snapshot"])
            if digest != task.snapshot:
                raise Refused(Code.WRONG_DIGEST, "The snapshot is not the one that the task names.")
            received = {**self._kept, **came}
            fetch = self._from(received.get)
            chain = self._whole(snapshot, digest, blobs["snapshot"], fetch)
            if isinstance(chain, Missing):
                return chain.digests
            missing = receipts.read(self._node, chain.links[-1], fetch)
            if missing is not None:
                self._keep(blobs)
                return (missing,)
            self._kept.clear()
            self._install(chain)
            return ()

    def check_snapshot(
        self, envelope: bytes, releases: Sequence[bytes]
    ) -> tuple[Snapshot, dict[Digest, bytes]]:
        """Verify a snapshot that came without a task, and each release that came with it.

        Returns:
            The snapshot, and the releases' envelopes by their digests.

        Raises:
            Refused: for a snapshot that the own parent did not sign, that is of another network,
                went back or has expired; for a release that the owner of its scope did not sign.
        """
        snapshot, _ = self._verified(envelope)
        if len(releases) > MOST_UNASKED:
            raise Refused(
                Code.TOO_LARGE, f"{len(releases)} releases came, expected at most {MOST_UNASKED}."
            )
        return snapshot, {self._owned(release): release for release in releases}

    def follow_snapshot(
        self,
        envelope: bytes,
        releases: Sequence[bytes],
        adapter: Callable[[Digest], bytes | None] = lambda _: None,
    ) -> Followed:
        """Install the chain of a snapshot that came without a task, from whoever it came.

        A node that has offers under way or counted reads every verdict before it installs what
        they led to: otherwise it would hold twice what was counted. Where its parent's releases in
        between are missing it waits. One that has none (a plain device) installs at once.

        Args:
            envelope: the sealed snapshot. A renewed signature of what is installed is no news.
            releases: envelopes of the releases that it lists; others of the same owners may be
                among them.
            adapter: gives an adapter's bytes by their digest, or None; the node's own store is
                asked first. It is called while the chain is locked: it should not wait.

        Raises:
            Refused: for what does not verify; nothing has changed, and who brought it is to blame
                unless the code is ``expired``, ``version-went-back`` or ``inconsistent-chain``.
            NodeError: ``harmful-chain``, ``moved-on``, as ``follow``.
        """
        with self.lock:
            snapshot, came = self.check_snapshot(envelope, releases)

            def received(wanted: Digest) -> bytes | None:
                if wanted in came:
                    return came[wanted]
                data = adapter(wanted)
                if data is not None and digest_of(data) != wanted:
                    raise Refused(Code.WRONG_DIGEST, f"What came is not {wanted[:12]}….")
                return data

            lacking = self._mend(received)
            if snapshot.sequence == self._node.state.above.sequence:
                return Followed(snapshot, NOTHING_NEWER)
            if lacking:
                return Followed(snapshot, MISSING, lacking)
            fetch = self._from(came.get, received)
            chain = self._whole(snapshot, Envelope.decode(envelope).digest, envelope, fetch)
            if isinstance(chain, Missing):
                return Followed(snapshot, MISSING, chain.digests)
            missing = receipts.read(self._node, chain.links[-1], fetch)
            if missing is not None:
                return Followed(snapshot, WAITS_FOR_RECEIPTS, (missing,))
            self._install(chain)
            return Followed(snapshot)

    def _verified(self, envelope: bytes) -> tuple[Snapshot, Digest]:
        """Verify that the parent signed a snapshot for its children, and that it is none before
        the one that is installed."""
        node = self._node
        return verify_snapshot(
            envelope,
            node.home.network,
            self._parent,
            at_least=node.state.above.sequence,
            now_ms=self._now_ms(),
        )

    def _owned(self, envelope: bytes) -> Digest:
        """Verify that a release is signed by the owner of its scope, above this node."""
        sealed = Envelope.decode(envelope, LIMITS)
        for owner in self._node.home.path[:-1]:
            key = PublicKey.from_raw(owner.public_key).keyid
            if any(signature.keyid == key for signature in sealed.signatures):
                return verify_release(envelope, owner, self._node.home.network)[1]
        raise Refused(Code.BAD_SIGNATURE, "A release was signed by nobody above this node.")

    def _whole(
        self, snapshot: Snapshot, digest: Digest, envelope: bytes, fetch: Fetch
    ) -> Chain | Missing:
        """Verify every release that a verified snapshot lists."""
        node = self._node
        return verify_chain(
            snapshot,
            digest,
            envelope,
            network=node.home.network,
            owners=node.home.path[:-1],
            installed=[(link.scope, link.version) for link in node.state.above.links],
            size=node.size,
            fetch=fetch,
        )

    def _install(self, chain: Chain) -> None:
        """Judge what a verified chain changes, and install it; again if the node moved
        meanwhile."""
        for _ in range(MOST_TRIALS):
            change = change_of(self._node, chain)
            judged = self._check_harm(chain, change) if self._is_plain else self._judge(change)
            try:
                install(self._node, chain, change, judged.share)
            except NodeError as error:
                if error.code != "moved-on":
                    raise
                log.info("chain-judged-again", sequence=chain.snapshot.sequence)
                continue
            judged.remember()
            return
        raise NodeError(
            "moved-on", f"The node's adapter moved {MOST_TRIALS} times while a chain was judged."
        )

    def _from(self, first: Fetch, last: Fetch = lambda _: None) -> Fetch:
        """Make what fetches a release envelope or an adapter: from what came first, then from the
        store, then from where waiting may be needed."""

        def fetch(wanted: Digest) -> bytes | None:
            if (data := first(wanted)) is not None:
                return data
            envelopes = {link.release: link.envelope for link in self._node.state.above.links}
            try:
                return self._node.artefacts.get(envelopes.get(wanted, wanted))
            except ArtefactError:  # never had, or damaged: it comes again
                return last(wanted)

        return fetch

    def _mend(self, received: Fetch) -> tuple[Digest, ...]:
        """Store what came of the installed chain's lost or damaged parts; return what is still
        lacking."""
        artefacts, lacking = self._node.artefacts, []
        for link in self._node.state.above.links:
            for stored, asked in ((link.envelope, link.release), (link.adapter, link.adapter)):
                if artefacts.intact(stored):
                    continue
                data = received(asked)
                if data is not None and digest_of(data) == stored:
                    artefacts.heal(stored, data)
                    log.info("chain-mended", scope=link.scope, version=link.version)
                else:
                    lacking.append(asked)
        return tuple(lacking)

    def _keep(self, blobs: Blobs) -> None:
        """Keep received releases until what is before them arrives with a later task."""
        releases = {n: data for n, data in blobs.items() if n.startswith(RELEASE_PREFIX)}
        self._kept.update(_by_digest(releases))
        while sum(map(len, self._kept.values())) > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]

    @property
    def _is_plain(self) -> bool:
        """Whether this is a device without an adapter: it can take or refuse a chain, no more."""
        return self._node.home.is_device and self._node.state.own.adapter == ZERO

    def _largest_tolerated(self, change: Change) -> Judged:
        """Choose the largest share of a change above that this node's own probes tolerate."""
        if not change.shares or not self._probes:
            return Judged(0.0)
        with self._probes.trial(counted=False) as trial:
            for share in change.shares:
                theta = sum_of([trial.effective, change.effect(share)])
                losses = trial.measure(theta)
                harm = trial.harm(losses)
                log.info("follow", share=share, harm=[f"{r.code} {r.source}" for r in harm])
                if not harm:
                    return Judged(share, trial, theta, losses)
        return Judged(0.0, trial)

    def _check_harm(self, chain: Chain, change: Change) -> Judged:
        """Keep the old chain if the new one harms this device's own probes.

        Raises ``NodeError`` ``harmful-chain``. The node follows the first chain, and one by
        which an ancestor takes something back, whatever they do.
        """
        if not self._probes or self._node.state.above.snapshot is None or change.undoes:
            return Judged(1.0)
        if chain.digest not in self._harmful:
            with self._probes.trial(counted=False) as trial:
                theta = sum_of([trial.effective, change.above])
                losses = trial.measure(theta)
            if not (harm := trial.harm(losses)):
                return Judged(1.0, trial, theta, losses)
            self._harmful[chain.digest] = harm[0].sentence
        raise NodeError("harmful-chain", self._harmful[chain.digest])


def _by_digest(blobs: Blobs) -> dict[Digest, bytes]:
    """Index received parts by the digest of their content, not by their names."""
    received: dict[Digest, bytes] = {}
    for name, data in blobs.items():
        if name.startswith(RELEASE_PREFIX):
            received[Envelope.decode(data, LIMITS).digest] = data
        elif name.startswith("adapter/"):
            received[digest_of(data)] = data
    return received
