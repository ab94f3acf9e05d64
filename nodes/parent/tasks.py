"""The tasks a parent sends: signed, each with what its child still lacks of the chain.

The desk remembers which tasks may still be answered (for admission), and which releases and
adapters a child holds, because it answered a task that enclosed them. Both live in memory: after a
restart children are asked again and say what they miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nodes.errors import NodeError
from nodes.parent.round_events import Ask
from nodes.releases.public import public_adapters, public_release
from nodes.state.node import Node
from nodes.state.offers import ANSWERED_ROUNDS
from protocol import LIMITS, Digest, NodeId, PayloadFormat, Task, seal

MAX_ENCLOSED = 48
"""Releases and adapters that one task encloses; a message holds 64 parts. The rest comes with the
next task: the child keeps what it has and says what it still lacks."""

MAX_REPEATS = 8
"""How often a child is asked again in one round because it lacked something: a child that keeps
asking for what it was already sent is not served for ever."""


@dataclass(frozen=True)
class Request:
    """A message to send: its parts, and when its answer is no longer waited for.

    ``kind`` is ``task``, or ``lend`` for what the parent lost of its chain.
    """

    child: NodeId
    task: str
    round: int
    blobs: dict[str, bytes]
    deadline_ms: int
    kind: str = "task"


class TaskDesk:
    """The desk that issues the tasks of one parent."""

    def __init__(self, node: Node, payload_format: PayloadFormat) -> None:
        self._node, self._payload_format = node, payload_format
        self._issued: dict[str, Task] = {}
        self._nonces: dict[tuple[int, NodeId], bytes] = {}
        self._enclosed: dict[str, set[Digest]] = {}
        self._delivered: dict[NodeId, set[Digest]] = {}
        self._wanted: dict[NodeId, tuple[Digest, ...]] = {}
        self._repeats: dict[tuple[int, NodeId], int] = {}
        self._read: dict[Digest, tuple[str, bytes]] = {}  # once for all children of a round

    def issued(self, task: str) -> Task | None:
        """Return the task of that id, if this parent still accepts answers to it."""
        return self._issued.get(task)

    def round_opened(self, number: int) -> None:
        """Forget tasks so old that an answer would be stale beyond use."""
        oldest = number - ANSWERED_ROUNDS
        self._issued = {k: t for k, t in self._issued.items() if t.round >= oldest}
        self._nonces = {k: n for k, n in self._nonces.items() if k[0] >= oldest}
        self._repeats = {k: n for k, n in self._repeats.items() if k[0] >= number}
        self._enclosed = {k: e for k, e in self._enclosed.items() if k in self._issued}
        self._read.clear()

    def answered(self, child: NodeId, task: str) -> None:
        """Note that the child holds what this task enclosed."""
        self._delivered.setdefault(child, set()).update(self._enclosed.pop(task, set()))
        if not self._enclosed:  # nobody waits for anything
            self._read.clear()

    def wanted(self, child: NodeId, number: int, missing: Sequence[Digest]) -> bool:
        """Note what the child lacks; return whether to ask it again in this round."""
        repeats = self._repeats[number, child] = self._repeats.get((number, child), 0) + 1
        wanted = missing[: 2 * LIMITS.max_chain]
        self._wanted[child] = (*wanted, *self._before(wanted))
        self._delivered.pop(child, None)
        return repeats <= MAX_REPEATS

    def _before(self, wanted: Sequence[Digest]) -> list[Digest]:
        """List this node's releases before those wanted, the newest first, for a child that reads
        back to the last it saw.

        Only releases, which are small; a child that lacks more asks again.
        """
        own = self._node.state.own
        versions = [own.releases[digest].version for digest in wanted if digest in own.releases]
        earlier = {v for last in versions for v in range(max(1, last - MAX_ENCLOSED), last)}
        newest_first = sorted(earlier, reverse=True)
        return [own.published[v].held.release for v in newest_first if v in own.published]

    def issue(self, ask: Ask) -> Request:
        """Sign a task and enclose what the child is not known to hold."""
        node, network, child = self._node, self._node.home.network, ask.child
        signed = node.snapshot()
        member = node.certificate_of(child)
        if signed is None or member is None:
            raise NodeError("not-ready", "A round was opened before there was a release.")
        snapshot, envelope = signed
        nonce = self._nonces.setdefault((ask.round, child), node.randomness.token(32))
        task = Task(
            network=network.network,
            parent=node.home.id,
            child=child,
            scope=node.home.scope,
            round=ask.round,
            task=f"{ask.round}-{ask.attempt}-{child[:16]}",
            attempt=ask.attempt,
            nonce=nonce,
            issued_ms=node.clock.now_ms(),
            deadline_ms=ask.deadline_ms,
            snapshot=envelope.digest,
            version=snapshot.chain[-1].version,
            base=network.base,
            basis=network.basis,
            tokenizer=network.tokenizer,
            layout=network.layout,
            mask_rank=member.mask_rank,
            payload_format=self._payload_format,
            judged=0 if ask.insists else node.state.rounds.judged.get(child, 0),
        )
        self._issued[task.task] = task
        blobs = {"task": seal(task, node.home.key).encode()}
        known = self._delivered.setdefault(child, set())
        if envelope.digest not in known:
            blobs["snapshot"] = envelope.encode()
        chain = [d for entry in snapshot.chain for d in (entry.release, entry.adapter)]
        lacking = [digest for digest in chain if digest not in known]
        enclosed = list(dict.fromkeys((*lacking, *self._wanted.pop(child, ()))))[:MAX_ENCLOSED]
        for digest in enclosed:
            if digest not in self._read and (public := self._public(digest)):
                self._read[digest] = public
            if digest in self._read:
                name, data = self._read[digest]
                blobs[f"{name}/{digest}"] = data
        self._enclosed[task.task] = {*enclosed, envelope.digest}
        return Request(child, task.task, ask.round, blobs, ask.deadline_ms)

    def _public(self, digest: Digest) -> tuple[str, bytes] | None:
        """Read a release or an adapter that children may have; None of anything else."""
        state, artefacts = self._node.state, self._node.artefacts
        release = public_release(state, digest)
        if release is not None:
            return "release", artefacts.get(release.envelope)
        if digest in public_adapters(state) and artefacts.has(digest):  # else kept no longer
            return "adapter", artefacts.get(digest)
        return None
