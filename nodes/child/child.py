"""The child's role: take a task, install the chain it brings, answer with an update or abstain.

A device trains on its text, each round from the chain. An interior node offers what its own
children's rounds added since the parent last counted it (δ = s - b, DESIGN section 4). Both
answer through the same door, so tiers never wait for each other.

Nothing a parent says is believed before its signature, its bindings and the whole chain verify.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import structlog

from nodes.child import rebase, receipts
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.learning.corpus import Corpus
from nodes.learning.engine import Engine
from nodes.learning.training import Learning
from nodes.learning.trials import Judged, Probes
from nodes.releases.chain import Missing, verify_chain, verify_snapshot
from nodes.state.node import Node
from nodes.state.records import ZERO
from nodes.state.vectors import Vector, sum_of
from protocol import (
    LIMITS,
    Abstention,
    Certificate,
    Code,
    Digest,
    Envelope,
    PublicKey,
    Refused,
    Task,
    Update,
    digest_of,
    encode_delta,
    open_envelope,
    seal,
)

log = structlog.get_logger()

Blobs = Mapping[str, bytes]


@dataclass(frozen=True)
class Offer:
    """A delta ready to send: (d,) float32, and what stands behind it.

    ``started`` is the parent's version it started from. A node with an adapter of its own also
    names the copy s of it that the delta leads to, and its own version at that time.
    """

    delta: Vector
    started: int
    samples: int
    contributors: int
    copy: Digest = ZERO
    version: int = 0


class Child:
    """Answers the tasks of one parent.

    Args:
        corpus: the node's text; by default that of its state folder.
    """

    def __init__(
        self, node: Node, config: NodeConfig, engine: Engine, corpus: Corpus | None = None
    ) -> None:
        self._node, self._config, self._engine = node, config, engine
        corpus = corpus or Corpus(node.home, config, node.clock)
        self._probes = Probes(node, engine, config.gate.policy(), corpus)
        self._learning = Learning(node, config.training, engine, corpus, self._probes)
        self._harmful: dict[Digest, str] = {}

    def answer(self, blobs: Blobs) -> tuple[str, dict[str, bytes]]:
        """Answer a task; returns the kind of answer and its parts.

        Raises ``Refused`` when what the parent sent does not verify.
        """
        task = self._verified_task(blobs)
        try:
            if missing := self._follow(task, blobs):
                return self._abstain(task, "missing-artefacts", retry=True, missing=missing)
            offer = self._train(task) if self._node.home.is_device else self._gathered(task)
        except NodeError as error:
            waits = error.code == "not-enough-change"
            say = log.debug if waits else log.warning
            say("abstained", code=error.code, sentence=error.sentence, round=task.round)
            return self._abstain(task, error.code, retry=waits)
        return self._send(task, offer)

    # -- what comes from the parent

    @property
    def _parent(self) -> Certificate:
        parent = self._node.home.parent
        if parent is None:
            raise NodeError("no-parent", "A root has no parent to answer.")
        return parent

    def _verified_task(self, blobs: Blobs) -> Task:
        home, parent = self._node.home, self._parent
        sealed = Envelope.decode(blobs.get("task", b""), LIMITS)
        task = open_envelope(sealed, Task, PublicKey.from_raw(parent.public_key))
        network = home.network
        bindings: tuple[tuple[object, object, Code, str], ...] = (
            (task.network, network.network, Code.WRONG_NETWORK, "network"),
            (task.parent, parent.node, Code.WRONG_PARENT, "parent"),
            (task.child, home.node, Code.WRONG_NODE, "child"),
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
        if self._node.clock.now_ms() > task.deadline_ms + LIMITS.clock_skew_s * 1000:
            raise Refused(Code.EXPIRED, f"The deadline of round {task.round} has passed.")
        return task

    def _follow(self, task: Task, blobs: Blobs) -> tuple[Digest, ...]:
        """Bring the chain above to the task's snapshot; returns what is missing for that."""
        node = self._node
        state = node.state
        if task.snapshot == state.snapshot:
            return ()
        if "snapshot" not in blobs:
            return (task.snapshot,)
        snapshot, digest = verify_snapshot(
            blobs["snapshot"],
            node.home.network,
            self._parent,
            at_least=state.snapshot_sequence,
            now_ms=node.clock.now_ms(),
        )
        if digest != task.snapshot:
            raise Refused(Code.WRONG_DIGEST, "The snapshot is not the one that the task names.")
        received = _by_digest(blobs)
        held = {link.release: link.envelope for link in state.ancestors}

        def fetch(wanted: Digest) -> bytes | None:
            if wanted in received:
                return received[wanted]
            artefact = held.get(wanted, wanted)
            return node.artefacts.get(artefact) if node.artefacts.has(artefact) else None

        chain = verify_chain(
            snapshot,
            digest,
            blobs["snapshot"],
            network=node.home.network,
            owners=node.home.path[:-1],
            held=[(link.scope, link.version) for link in state.ancestors],
            size=node.size,
            fetch=fetch,
        )
        if isinstance(chain, Missing):
            return chain.digests
        if missing := receipts.read(node, chain.links[-1], fetch):
            return (missing,)
        change = rebase.change_of(node, chain)
        judged = self._check_harm(task, change) if self._is_plain else self._judge(change)
        rebase.install(node, chain, judged.share)
        judged.remember()
        return ()

    @property
    def _is_plain(self) -> bool:
        """A device that has no adapter of its own: it can refuse a chain, and nothing else."""
        return self._node.home.is_device and self._node.state.adapter == ZERO

    def _judge(self, change: rebase.Change) -> Judged:
        """The largest share of a change above that this node's own probes tolerate."""
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

    def _check_harm(self, task: Task, change: rebase.Change) -> Judged:
        """Keep the old chain if the new one harms this device's own probes.

        Raises ``NodeError`` ``harmful-chain``. The first chain, and one by which an ancestor takes
        something back, are followed whatever they do.
        """
        if not self._probes or self._node.state.snapshot is None or change.undoes:
            return Judged(1.0)
        if task.snapshot not in self._harmful:
            with self._probes.trial(counted=False) as trial:
                theta = sum_of([trial.effective, change.above])
                losses = trial.measure(theta)
            if not (harm := trial.harm(losses)):
                return Judged(1.0, trial, theta, losses)
            self._harmful[task.snapshot] = harm[0].sentence
        raise NodeError("harmful-chain", self._harmful[task.snapshot])

    # -- what goes to the parent

    def _train(self, task: Task) -> Offer:
        """Train; once for each round, also when asked again after a crash.

        A plain device starts each round from the chain and sends what it learned on top. A personal
        one goes on from its own adapter and sends all that its parent has not counted yet.
        """
        node, training = self._node, self._config.training
        if not (node.state.trained and node.state.trained.round == task.round):
            self._learning.learn(task)
        trained = node.state.trained
        assert trained is not None  # noqa: S101  just now, or before
        if training.mode == "plain":
            return Offer(node.vector(trained.delta), trained.started, trained.samples, 1)
        with node.lock:
            state = node.state
            delta = node.vector(state.adapter) - node.vector(state.baseline)
            return Offer(delta, task.version, trained.samples, 1, state.adapter, state.version)

    def _gathered(self, task: Task) -> Offer:
        """δ = s - b, if enough has changed since the baseline."""
        node, promotion = self._node, self._config.promotion
        with node.lock:
            state = node.state
            copy, version = state.adapter, state.version
            delta = node.vector(copy) - node.vector(state.baseline)
            contributors = state.contributors()
            waited_ms = node.clock.now_ms() - state.baseline_ms
        f = self._config.rounds.policy().tolerates(len(node.state.membership.active))
        size, whole = np.linalg.norm(delta), np.linalg.norm(node.effective())
        ripe = contributors >= max(1, 2 * f + 1) and size >= promotion.least_change * whole
        overdue = waited_ms >= promotion.after_s * 1000 and size > 0
        if contributors == 0 or not (ripe or overdue):
            raise NodeError(
                "not-enough-change",
                f"Since the baseline {contributors} children contributed and the adapter moved by "
                f"{size:.3g} of {whole:.3g}; it is not yet time to promote.",
            )
        return Offer(delta, task.version, 0, contributors, copy, version)

    def _send(self, task: Task, offer: Offer) -> tuple[str, dict[str, bytes]]:
        node, home = self._node, self._node.home
        payload = self._payload(task, offer.delta)
        now = node.clock.now_ms()
        update = Update(
            network=task.network,
            node=home.node,
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
        body = {"round": task.round, "update": sealed.digest, "length": len(payload)}
        if offer.copy != ZERO:
            # Durable before it leaves: a verdict on it must find the copy it speaks of.
            body |= {"copy": offer.copy, "version": offer.version}
            node.record("update-sent", body)
        log.info("update-sent", **body, samples=offer.samples)
        return "update", {"envelope": sealed.encode(), "payload": payload}

    def _payload(self, task: Task, delta: Vector) -> bytes:
        """What of δ this node holds, as the task wants it."""
        held = self._node.home.layout.mask_at(task.mask_rank)
        return encode_delta(delta[held], task.payload_format)

    def _abstain(
        self, task: Task, reason: str, *, retry: bool, missing: tuple[Digest, ...] = ()
    ) -> tuple[str, dict[str, bytes]]:
        home = self._node.home
        abstention = Abstention(
            network=task.network,
            node=home.node,
            parent=task.parent,
            scope=task.scope,
            round=task.round,
            task=task.task,
            attempt=task.attempt,
            nonce=task.nonce,
            reason=reason,
            retry=retry,
            missing=missing,
            issued_ms=self._node.clock.now_ms(),
        )
        return "abstention", {"envelope": seal(abstention, home.key).encode()}


def _by_digest(blobs: Blobs) -> dict[Digest, bytes]:
    """Index what was received by what it really is, not by what it is called."""
    found: dict[Digest, bytes] = {}
    for name, data in blobs.items():
        if name.startswith("release/"):
            found[Envelope.decode(data, LIMITS).digest] = data
        elif name.startswith("adapter/"):
            found[digest_of(data)] = data
    return found
