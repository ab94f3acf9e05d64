"""The child's role: take a task, install the chain it brings, answer with an update or abstain.

A device offers what it learned from its text, an interior node what its own children's rounds
added. Both answer through the same door, so tiers never wait for each other.

The child believes nothing a parent says before its signature, its bindings and the whole chain
verify.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import structlog
from numpy.typing import NDArray

from nodes.child.follow import Blobs, Followed, Follower, Judge
from nodes.child.mend import mend_position
from nodes.child.offer import GatheredOffers, LearnedOffers, Offer, OfferSource
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.learning.corpus import StoredCorpus
from nodes.learning.interfaces import Corpus, Engine
from nodes.learning.training import NOTHING_NEW, Learner
from nodes.learning.trials import Probes
from nodes.machine.troubles import Troubles
from nodes.state.artefacts import ArtefactError
from nodes.state.events import UpdateSent
from nodes.state.node import Node
from nodes.state.records import ZERO
from protocol import (
    LIMITS,
    Abstention,
    Code,
    Digest,
    Envelope,
    PayloadFormat,
    PublicKey,
    Refused,
    Snapshot,
    Task,
    Update,
    digest_of,
    encode_delta,
    open_envelope,
    seal,
)

log = structlog.get_logger()

Encode = Callable[[NDArray[np.float32], PayloadFormat], bytes]
"""Encodes the values of a delta that a node trains as a payload."""

WAITS = {"not-enough-change", "moved-on"}
"""Reasons to abstain that may pass: the parent asks again in the same round."""


def _no_difference() -> int:
    """By how many ms this clock is ahead of the parent's, where both are one. No lambda: a child
    that stands in another process is pickled."""
    return 0


class Child:
    """The answers to the tasks of one parent.

    Args:
        corpus: the node's text; by default that of its state folder.
        offers: where answers come from; by default training at a device, elsewhere what the node's
            own rounds gathered.
        judge: by which share to follow a change above; by default what the node's probes tolerate.
        encode: writes a payload.
        troubles: where it is kept for ``status`` why the node abstains.
        ahead_ms: by how much this machine's clock is ahead of the parent's; what goes to and comes
            from the parent is dated by the parent's.

    Raises:
        NodeError: ``no-parent`` at a root.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        engine: Engine,
        corpus: Corpus | None = None,
        *,
        offers: OfferSource | None = None,
        judge: Judge | None = None,
        encode: Encode = encode_delta,
        troubles: Troubles | None = None,
        ahead_ms: Callable[[], int] = _no_difference,
    ) -> None:
        corpus = corpus or StoredCorpus(node.home, config, node.clock)
        if node.home.parent is None:
            raise NodeError("no-parent", "A root has no parent to answer.")
        self._node, self._parent, self._encode = node, node.home.parent, encode
        self._troubles, self._ahead_ms = troubles, ahead_ms
        probes = Probes(node, engine, config.gate.policy(), corpus)
        self._follower = Follower(node, self._parent, probes, judge, self._parents_now_ms)
        self._offers = offers or offer_source(node, config, engine, corpus)

    def answer(self, blobs: Blobs) -> tuple[str, dict[str, bytes]]:
        """Answer a task; return the kind of answer and its parts.

        Raises ``Refused`` when what the parent sent does not verify.
        """
        task = self._verified_task(blobs)
        try:
            if missing := self._follower.follow(task, blobs):
                return self._abstain(task, "missing-artefacts", retry=True, missing=missing)
            stands = self._stands()
            offer = self._offers.offer(task)
        except ArtefactError as error:
            mended = error.digest is not None and mend_position(self._node)
            self._report(error.code, error.sentence)
            return self._abstain(task, error.code, retry=mended)
        except NodeError as error:
            if error.code == "stopped":
                raise
            waits = error.code in WAITS
            say = log.debug if waits or error.code == NOTHING_NEW else log.warning
            say("abstained", code=error.code, sentence=error.sentence, round=task.round)
            self._report(error.code, error.sentence, passes=waits)
            return self._abstain(task, error.code, retry=waits)
        except (OSError, Refused):
            raise
        except Exception as error:
            log.exception("offer-failed", round=task.round)
            self._report("computing-failed", f"{type(error).__name__}: {error}"[:300])
            return self._abstain(task, "computing-failed", retry=False)
        self._report("", "")
        with self._follower.lock:
            if offer.copy != ZERO and stands != self._stands():
                log.info("offer-made-again", round=task.round)  # a sibling brought another chain
                return self._abstain(task, "moved-on", retry=True)
            return self._send(task, offer)

    def follow_snapshot(
        self,
        envelope: bytes,
        releases: Sequence[bytes],
        adapter: Callable[[Digest], bytes | None] = lambda _: None,
    ) -> Followed:
        """Install the chain of a snapshot that came without a task; see
        ``Follower.follow_snapshot``. Thread-safe: ``answer`` may run meanwhile."""
        return self._follower.follow_snapshot(envelope, releases, adapter)

    def check_snapshot(self, envelope: bytes, releases: Sequence[bytes]) -> Snapshot:
        """Verify a snapshot and the releases that came with it. Raises ``Refused``."""
        return self._follower.check_snapshot(envelope, releases)[0]

    def _stands(self) -> tuple[object, ...]:
        """Collect what an offer's copy depends on beside the node's own rounds: a chain that a
        sibling brought displaces copies, a verdict that came with it moves the baseline."""
        with self._node.lock:
            state = self._node.state
            return state.above.snapshot, state.offers.seen_release, state.offers.baseline

    def _report(self, code: str, sentence: str, *, passes: bool = False) -> None:
        """Keep for ``status`` why this node has nothing to send, if a person should know."""
        if self._troubles is None:
            return
        if code and not passes and code != NOTHING_NEW:
            self._troubles.report("offer", code, sentence)
        else:
            self._troubles.clear("offer")

    def _parents_now_ms(self) -> int:
        return self._node.clock.now_ms() - self._ahead_ms()

    def lend(self, blobs: Blobs) -> tuple[str, dict[str, bytes]]:
        """Give the parent back what it lost of its chain, as far as this node holds it.

        A parent may have all of it: it is what it handed down.
        """
        wanted = set(blobs.get("wanted", b"").decode("ascii", "replace").split())
        artefacts, lent = self._node.artefacts, dict[str, bytes]()
        for link in self._node.state.above.links:
            for digest in {link.envelope, link.adapter} & wanted:
                if artefacts.intact(digest):
                    lent[digest] = artefacts.get(digest)
        return "artefacts", lent

    # -- what comes from the parent

    def _verified_task(self, blobs: Blobs) -> Task:
        home, parent = self._node.home, self._parent
        sealed = Envelope.decode(blobs.get("task", b""), LIMITS)
        task = open_envelope(sealed, Task, PublicKey.from_raw(parent.public_key))
        network = home.network
        bindings: tuple[tuple[object, object, Code, str], ...] = (
            (task.network, network.network, Code.WRONG_NETWORK, "network"),
            (task.parent, parent.node, Code.WRONG_PARENT, "parent"),
            (task.child, home.id, Code.WRONG_NODE, "child"),
            (task.scope, parent.scope, Code.WRONG_SCOPE, "scope"),
            (task.base, network.base, Code.WRONG_BASE, "base"),
            (task.tokenizer, network.tokenizer, Code.WRONG_TOKENIZER, "tokenizer"),
            (task.basis, network.basis, Code.WRONG_BASIS, "basis"),
            (task.layout, network.layout, Code.WRONG_LAYOUT, "layout"),
            (task.mask_rank, home.certificate.mask_rank, Code.WRONG_MASK, "rank"),
        )
        for got, expected, code, name in bindings:
            if got != expected:
                raise Refused(code, f"The task names {name} {got}, expected {expected}.")
        if self._parents_now_ms() > task.deadline_ms + LIMITS.clock_skew_s * 1000:
            raise Refused(Code.EXPIRED, f"The deadline of round {task.round} has passed.")
        return task

    def _send(self, task: Task, offer: Offer) -> tuple[str, dict[str, bytes]]:
        node, home = self._node, self._node.home
        trained = home.layout.mask_at(task.mask_rank)
        payload = self._encode(offer.delta[trained], task.payload_format)
        now = self._parents_now_ms()
        update = Update(
            network=task.network,
            node=home.id,
            parent=task.parent,
            scope=task.scope,
            round=task.round,
            task=task.task,
            attempt=task.attempt,
            nonce=task.nonce,
            base=task.base,
            basis=task.basis,
            tokenizer=task.tokenizer,
            layout=task.layout,
            mask_rank=task.mask_rank,
            version=offer.started,
            payload=digest_of(payload),
            length=len(payload),
            payload_format=task.payload_format,
            samples=offer.samples,
            contributors=offer.contributors,
            cumulative=offer.copy != ZERO,
            issued_ms=now,
            expires_ms=now + LIMITS.update_lifetime_s * 1000,
            key_epoch=home.certificate.key_epoch,
        )
        sealed = seal(update, home.key)
        # Record it before it leaves: a verdict on it must find the copy it names.
        sent = UpdateSent(
            round=task.round,
            update=sealed.digest,
            length=len(payload),
            copy=offer.copy,
            version=offer.version,
            deadline_ms=task.deadline_ms,
        )
        node.record(sent)
        log.info(
            "update-sent",
            round=task.round,
            update=sealed.digest,
            length=len(payload),
            samples=offer.samples,
        )
        return "update", {"envelope": sealed.encode(), "payload": payload}

    def _abstain(
        self, task: Task, reason: str, *, retry: bool, missing: tuple[Digest, ...] = ()
    ) -> tuple[str, dict[str, bytes]]:
        home = self._node.home
        abstention = Abstention(
            network=task.network,
            node=home.id,
            parent=task.parent,
            scope=task.scope,
            round=task.round,
            task=task.task,
            attempt=task.attempt,
            nonce=task.nonce,
            reason=reason,
            retry=retry,
            missing=missing,
            issued_ms=self._parents_now_ms(),
        )
        return "abstention", {"envelope": seal(abstention, home.key).encode()}


def offer_source(node: Node, config: NodeConfig, engine: Engine, corpus: Corpus) -> OfferSource:
    """Return the source of a node's offers: its text at a device, elsewhere its rounds."""
    if not node.home.is_device:
        return GatheredOffers(node, config)
    probes = Probes(node, engine, config.gate.policy(), corpus)
    learner = Learner(node, config.training, engine, corpus, probes)
    return LearnedOffers(node, learner, personal=config.training.mode == "personal")
