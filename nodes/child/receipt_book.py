"""Ask the parent what became of this node's updates, and keep what it signed.

A receipt counts only with the release that it is bound to, in which the same verdict stands. What a
parent signed in contradiction to itself is kept as evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from nodes.errors import NodeError
from nodes.releases.chain import verify_release
from nodes.releases.receipt_proof import CONTRADICTING, Proof, prove
from nodes.state.artefacts import ArtefactError
from nodes.state.events import ReceiptKept
from nodes.state.fates import WITHDRAWN
from nodes.state.node import Node
from nodes.state.records import ZERO, KeptReceipt
from protocol import LIMITS, Digest, Fate, Refused, Release

log = structlog.get_logger()

Ask = Callable[[Digest], tuple[bytes, bytes]]
"""Asks the parent for the envelopes of a receipt and of its release, empty where there is none;
raises ``NodeError`` for what the parent refuses, or when it does not answer."""

AT_ONCE = 8
"""The most updates that one step asks for."""
ASK_AGAIN_S, LONGEST_S = 60.0, 3600.0
"""Seconds before the same update is asked for again; twice as many each time, up to the second."""
GIVE_UP_MS = LIMITS.update_lifetime_s * 1000
"""How long after its task's deadline an update is asked for: it may never have arrived."""


@dataclass
class _Asked:
    """When an update was asked for last, at which of the parent's versions, how often since.

    ``at`` is None for one that was only looked at.
    """

    at: float | None
    version: int
    times: int


class ReceiptBook:
    """The receipts of one node.

    Args:
        ahead_ms: by how much this machine's clock is ahead of the parent's.
    """

    def __init__(self, node: Node, ask: Ask, ahead_ms: Callable[[], int] = lambda: 0) -> None:
        if node.home.parent is None:
            raise NodeError("no-parent", "A root sends no updates.")
        self._node, self._parent, self._ask, self._ahead_ms = node, node.home.parent, ask, ahead_ms
        self._asked: dict[Digest, _Asked] = {}

    def due(self) -> list[Digest]:
        """List the updates to ask for now, the oldest first.

        Those without a final receipt, once a newer release of the parent was installed or their
        task's deadline has passed; and counted ones of which the newest release takes something
        back.
        """
        node = self._node
        with node.lock:
            awaited, kept = dict(node.state.receipts.awaited), dict(node.state.receipts.kept)
        self._asked = {u: asked for u, asked in self._asked.items() if u in awaited or u in kept}
        version, release = self._newest()
        now = node.clock.now_ms() - self._ahead_ms()
        due = [
            update
            for update, sent in awaited.items()
            if now <= sent.deadline_ms + GIVE_UP_MS
            and self._is_time(update, version, over=now > sent.deadline_ms)
        ]
        taken_back = self._taken_back(kept, release) if release else []
        return due + [update for update in taken_back if self._is_time(update, version, over=True)]

    def step(self) -> list[Digest]:
        """Ask for what is due; return the updates of which a receipt was kept.

        Raises ``NodeError`` when the parent does not answer; what came before is kept.
        """
        kept = []
        for update in self.due()[:AT_ONCE]:
            self._note(update)
            try:
                receipt, release = self._ask(update)
            except NodeError as error:
                if error.code != "unknown-update":
                    raise
                continue  # it may come yet: a late one has no seat before the next round
            try:
                if self.take(update, receipt, release):
                    kept.append(update)
            except Refused as refused:
                log.warning("receipt-refused", update=update, code=refused.code.value)
            except NodeError as error:
                if error.code != CONTRADICTING:
                    raise
                kept.append(update)
        return kept

    def take(self, update: Digest, receipt: bytes, release: bytes) -> bool:
        """Verify a receipt and keep it; return False for one that says that the update waits.

        Raises:
            Refused: for what does not verify; nothing was kept.
            NodeError: ``contradicting-receipt``; both envelopes were kept as evidence.
        """
        node = self._node
        proof = prove(
            receipt,
            release or None,
            network=node.home.network,
            parent=self._parent,
            child=node.home.id,
            update=update,
        )
        with node.lock:
            before = node.state.receipts.kept.get(update)
            contradiction = proof.contradiction or (_changed(before, proof) if before else "")
            said = proof.receipt
            if not contradiction and (said.fate is Fate.WAITING or _is_known(before, proof)):
                return False
            node.record(
                ReceiptKept(
                    update=update,
                    receipt=node.artefacts.put(receipt),
                    release=node.artefacts.put(release) if proof.release else ZERO,
                    fate=said.fate,
                    code=said.code,
                    round=said.round,
                    version=said.version,
                    contradicts=bool(contradiction),
                )
            )
        self._asked.pop(update, None)
        if contradiction:
            log.error("receipt-contradicts", update=update, why=contradiction)
            raise NodeError(CONTRADICTING, contradiction)
        log.info("receipt-kept", update=update, fate=said.fate.value, version=said.version)
        return True

    # -- when

    def _newest(self) -> tuple[int, Release | None]:
        """Return the parent's newest release that is installed, and its version."""
        links = self._node.state.above.links
        if not links:
            return 0, None
        try:
            envelope = self._node.artefacts.get(links[-1].envelope)
        except ArtefactError:  # it comes again
            return links[-1].version, None
        return links[-1].version, verify_release(envelope, self._parent, self._node.home.network)[0]

    def _is_time(self, update: Digest, version: int, *, over: bool) -> bool:
        """Return whether to ask now: the parent has released since, or it is over and some time
        has passed."""
        asked = self._asked.setdefault(update, _Asked(None, version, 0))
        if version > asked.version:
            return True
        if not over or asked.at is None:
            return over
        wait = min(LONGEST_S, ASK_AGAIN_S * (1 << min(asked.times, 10)))
        return self._node.clock.monotonic() - asked.at >= wait

    def _note(self, update: Digest) -> None:
        """Note that an update is asked for now."""
        links, asked = self._node.state.above.links, self._asked.get(update)
        version = links[-1].version if links else 0
        again = asked is not None and asked.at is not None and asked.version == version
        times = asked.times + 1 if again and asked else 0
        self._asked[update] = _Asked(self._node.clock.monotonic(), version, times)

    def _taken_back(self, kept: dict[Digest, KeptReceipt], release: Release) -> list[Digest]:
        """List the counted updates of which a release says that they count no longer."""
        withdrawn = {v.update for v in release.verdicts if v.code == WITHDRAWN}
        return [
            update
            for update, receipt in kept.items()
            if receipt.fate is Fate.COUNTED
            and not receipt.contradicts
            and (update in withdrawn or any(receipt.version in span for span in release.undone))
        ]


def _is_known(before: KeptReceipt | None, proof: Proof) -> bool:
    """Return whether a receipt says what is known already: only its time is another."""
    said = proof.receipt
    return before is not None and (before.fate, before.code, before.version) == (
        said.fate,
        said.code,
        said.version,
    )


def _changed(before: KeptReceipt, proof: Proof) -> str:
    """Say why a receipt contradicts an earlier one: what is decided does not change, but that
    what was counted may be withdrawn."""
    said = proof.receipt
    if _is_known(before, proof) or before.contradicts:
        return ""
    if (before.fate, before.code) == (said.fate, said.code) and before.version == 0:
        return ""  # a release has named it since
    if before.fate in (Fate.COUNTED, Fate.WITHDRAWN) and said.fate is Fate.WITHDRAWN:
        return ""
    return (
        f"An earlier receipt of the same parent says {before.fate} in version {before.version}, "
        f"this one {said.fate} in version {said.version}."
    )
