"""Follow the parent's chain: fetch it, verify it, judge what it changes, install it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from nodes.child import receipts
from nodes.child.rebase import Change, change_of, install
from nodes.errors import NodeError
from nodes.learning.trials import Judged, Probes
from nodes.releases.chain import Chain, Missing, verify_chain, verify_snapshot
from nodes.state.artefacts import ArtefactError
from nodes.state.node import Node
from nodes.state.records import ZERO
from nodes.state.vectors import sum_of
from protocol import LIMITS, Certificate, Code, Digest, Envelope, Refused, Task, digest_of

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


class Follower:
    """Brings the chain above a node up to its parent's snapshot.

    Args:
        judge: by which share to follow; by default the largest that the node's probes tolerate.
        now_ms: the parent's time; by default this machine's.
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
        self._harmful: dict[Digest, str] = {}
        self._kept: dict[Digest, bytes] = {}
        """Releases that came before the rest of what they belong to; not verified yet."""

    def follow(self, task: Task, blobs: Blobs) -> tuple[Digest, ...]:
        """Install the chain that a task names; return what is missing for that.

        Raises ``Refused`` for what does not verify, ``NodeError`` ``harmful-chain`` when a plain
        device keeps its old chain, ``moved-on`` when its own adapter keeps moving meanwhile.
        """
        # The change to a new chain is computed from the one that is installed: it must be whole.
        if lacking := self._mend(blobs):
            return lacking
        if task.snapshot == self._node.state.above.snapshot:
            return ()
        if "snapshot" not in blobs:
            return (task.snapshot,)
        received = {**self._kept, **_by_digest(blobs)}
        chain = self._verified(task, blobs["snapshot"], received)
        if isinstance(chain, Missing):
            return chain.digests
        missing = receipts.read(self._node, chain.links[-1], lambda d: self._fetch(d, received))
        if missing is not None:
            self._keep(blobs)
            return (missing,)
        self._kept.clear()
        for _ in range(MOST_TRIALS):
            change = change_of(self._node, chain)
            judged = self._check_harm(task, change) if self._is_plain else self._judge(change)
            try:
                install(self._node, chain, change, judged.share)
            except NodeError as error:
                if error.code != "moved-on":
                    raise
                log.info("chain-judged-again", sequence=chain.snapshot.sequence)
                continue
            judged.remember()
            return ()
        raise NodeError(
            "moved-on", f"The node's adapter moved {MOST_TRIALS} times while a chain was judged."
        )

    def _verified(
        self, task: Task, snapshot_envelope: bytes, received: Mapping[Digest, bytes]
    ) -> Chain | Missing:
        """Verify the snapshot, its match with the task, and every release that it lists."""
        node, above = self._node, self._node.state.above
        snapshot, digest = verify_snapshot(
            snapshot_envelope,
            node.home.network,
            self._parent,
            at_least=above.sequence,
            now_ms=self._now_ms(),
        )
        if digest != task.snapshot:
            raise Refused(Code.WRONG_DIGEST, "The snapshot is not the one that the task names.")
        return verify_chain(
            snapshot,
            digest,
            snapshot_envelope,
            network=node.home.network,
            owners=node.home.path[:-1],
            installed=[(link.scope, link.version) for link in above.links],
            size=node.size,
            fetch=lambda wanted: self._fetch(wanted, received),
        )

    def _fetch(self, wanted: Digest, received: Mapping[Digest, bytes]) -> bytes | None:
        """Fetch a release envelope or an adapter: from what came with the task, or from the
        store."""
        if wanted in received:
            return received[wanted]
        envelopes = {link.release: link.envelope for link in self._node.state.above.links}
        artefact = envelopes.get(wanted, wanted)
        try:
            return self._node.artefacts.get(artefact)
        except ArtefactError:  # never had, or damaged: it comes again
            return None

    def _mend(self, blobs: Blobs) -> tuple[Digest, ...]:
        """Store what came of the installed chain's lost or damaged parts; return what is still
        lacking."""
        received, artefacts = _by_digest(blobs), self._node.artefacts
        lacking = []
        for link in self._node.state.above.links:
            for stored, asked in ((link.envelope, link.release), (link.adapter, link.adapter)):
                if artefacts.intact(stored):
                    continue
                if asked in received:
                    artefacts.heal(stored, received[asked])
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

    def _check_harm(self, task: Task, change: Change) -> Judged:
        """Keep the old chain if the new one harms this device's own probes.

        Raises ``NodeError`` ``harmful-chain``. The node follows the first chain, and one by
        which an ancestor takes something back, whatever they do.
        """
        if not self._probes or self._node.state.above.snapshot is None or change.undoes:
            return Judged(1.0)
        if task.snapshot not in self._harmful:
            with self._probes.trial(counted=False) as trial:
                theta = sum_of([trial.effective, change.above])
                losses = trial.measure(theta)
            if not (harm := trial.harm(losses)):
                return Judged(1.0, trial, theta, losses)
            self._harmful[task.snapshot] = harm[0].sentence
        raise NodeError("harmful-chain", self._harmful[task.snapshot])


def _by_digest(blobs: Blobs) -> dict[Digest, bytes]:
    """Index received parts by the digest of their content, not by their names."""
    received: dict[Digest, bytes] = {}
    for name, data in blobs.items():
        if name.startswith(RELEASE_PREFIX):
            received[Envelope.decode(data, LIMITS).digest] = data
        elif name.startswith("adapter/"):
            received[digest_of(data)] = data
    return received
