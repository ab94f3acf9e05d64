"""Learn of the chain's newest snapshot from siblings while the parent does not answer.

The parent signed it, so it does not matter who brings it. What a sibling sends is verified before
anything is fetched for it; one that sends what does not verify is named to whoever listens, and
costs nothing else.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from nodes.child.follow import WAITS_FOR_RECEIPTS, Followed
from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.machine.randomness import Randomness
from nodes.machine.troubles import Troubles
from nodes.state.node import Node
from protocol import Code, Digest, NodeId, Refused, Snapshot
from protocol.peer_pb2 import WatchReply, WatchRequest

log = structlog.get_logger()

SILENT_S = 20.0
"""Seconds without an answer of the parent after which siblings are asked."""
ASK_EVERY_S, JITTER = 15.0, 0.25
"""The least seconds between two times, and the part by which one may come later."""
AT_ONCE = 4
"""The most siblings that are asked at one time, drawn at random."""
GRACE_S = 1.0
"""How long other answers are waited for after the first one with news."""
PATIENCE_S = 35.0
"""How long a pass waits for answers at all: a sibling without news answers after 30 s."""
LOOK_EVERY_S = 1.0

TROUBLE = "chain"

NOT_THE_BRINGERS = {Code.EXPIRED, Code.VERSION_WENT_BACK}
"""Reasons to refuse a snapshot for which an honest sibling cannot help: it was newer when asked."""


@dataclass(frozen=True)
class Sibling:
    """Another child of the same parent.

    ``ask`` raises what the link raises, at the latest when a question's own time is over.
    """

    node: NodeId
    name: str
    ask: Callable[[WatchRequest], WatchReply]


class Installer(Protocol):
    """The interface of what verifies and installs a snapshot: ``nodes.child.child.Child``."""

    def check_snapshot(self, envelope: bytes, releases: Sequence[bytes]) -> Snapshot:
        """Verify a snapshot and its releases. Raises ``Refused``."""
        ...

    def follow_snapshot(
        self,
        envelope: bytes,
        releases: Sequence[bytes],
        adapter: Callable[[Digest], bytes | None] = ...,
    ) -> Followed:
        """Install it, if all that it needs is here."""
        ...


@dataclass(frozen=True)
class _Learned:
    """A verified snapshot that is newer than what is installed, and who brought it."""

    snapshot: Snapshot
    envelope: bytes
    releases: tuple[bytes, ...]
    bringer: Sibling


class SiblingWatch:
    """The watch of one child.

    Args:
        siblings: those that can be asked now.
        fetch: gets an adapter from whoever has it; None, or ``NodeError``, if nobody gives it. What
            comes is checked.
        on_refused: told of a sibling that sent what does not verify.
        on_installed: told when a chain was installed.
    """

    def __init__(
        self,
        node: Node,
        installer: Installer,
        *,
        siblings: Callable[[], Sequence[Sibling]],
        fetch: Callable[[Digest], bytes | None],
        clock: Clock,
        randomness: Randomness,
        troubles: Troubles | None = None,
        on_refused: Callable[[Sibling, Refused], None] = lambda _sibling, _refused: None,
        on_installed: Callable[[], None] = lambda: None,
    ) -> None:
        self._node, self._installer = node, installer
        self._siblings, self._fetch = siblings, fetch
        self._clock, self._randomness, self._troubles = clock, randomness, troubles
        self._on_refused, self._on_installed = on_refused, on_installed
        self._heard_at = clock.monotonic()
        self._next_at = float("-inf")
        self._learned: _Learned | None = None
        self._asked: set[NodeId] = set()
        self._asked_lock = threading.Lock()

    def heard(self) -> None:
        """Note that the parent answered. Thread-safe."""
        self._heard_at = self._clock.monotonic()

    def run(self, stop: threading.Event) -> None:
        """Watch until ``stop``. What fails once is tried again at the next time."""
        while not stop.wait(LOOK_EVERY_S):
            try:
                self.step(stop)
            except Exception as error:
                log.exception("siblings-not-asked", why=str(error))

    def step(self, stop: threading.Event | None = None) -> Followed | None:
        """Do what is due now; return what became of the newest snapshot that was learned, if
        any."""
        self._forget_installed()
        now = self._clock.monotonic()
        if now - self._heard_at < SILENT_S or now < self._next_at:
            return None
        late = JITTER * self._randomness.bits(16) / 2**16
        self._next_at = now + ASK_EVERY_S * (1 + late)
        before = self._install()  # what lacked something before
        known = self._learned
        self._ask(stop or threading.Event())
        return before if self._learned is known else self._install()

    # -- asking

    def _ask(self, stop: threading.Event) -> None:
        """Ask some siblings at once; remember the newest of what verifies."""
        request = WatchRequest(scope=self._scope(), have=self._have())
        with self._asked_lock:
            free = [s for s in self._siblings() if s.node not in self._asked]
            drawn = self._drawn(free)
            self._asked |= {sibling.node for sibling in drawn}
        replies: queue.SimpleQueue[tuple[Sibling, WatchReply | None]] = queue.SimpleQueue()
        for sibling in drawn:
            # As a daemon: one that waits for its answer must not keep the process.
            args = (sibling, request, replies)
            threading.Thread(target=self._ask_one, args=args, daemon=True).start()
        waited, patience = 0.0, PATIENCE_S
        for _ in drawn:
            while not stop.is_set():
                try:
                    sibling, reply = replies.get(timeout=0.1)
                except queue.Empty:
                    waited += 0.1
                    if waited >= patience:
                        return
                    continue
                if reply is not None and self._take(sibling, reply):
                    patience = min(patience, waited + GRACE_S)
                break

    def _ask_one(
        self,
        sibling: Sibling,
        request: WatchRequest,
        replies: queue.SimpleQueue[tuple[Sibling, WatchReply | None]],
    ) -> None:
        reply = None
        try:
            reply = sibling.ask(request)
        except Exception as error:  # whatever its link raises: others are asked, and it again
            log.debug("sibling-silent", sibling=sibling.name, why=str(error))
        finally:
            with self._asked_lock:
                self._asked.discard(sibling.node)
            replies.put((sibling, reply))

    def _take(self, sibling: Sibling, reply: WatchReply) -> bool:
        """Remember a reply if it verifies and is newer than what is known; return whether it is."""
        if not reply.snapshot:
            return False
        releases = tuple(reply.releases)
        try:
            snapshot = self._installer.check_snapshot(reply.snapshot, releases)
        except Refused as refused:
            if refused.code not in NOT_THE_BRINGERS:
                log.warning("sibling-refused", sibling=sibling.name, code=refused.code.value)
                self._on_refused(sibling, refused)
            return False
        if snapshot.sequence <= self._have():
            return False
        self._learned = _Learned(snapshot, reply.snapshot, releases, sibling)
        return True

    # -- installing

    def _install(self) -> Followed | None:
        """Install what was learned, after what it lacks was fetched; say what it waits for."""
        learned = self._learned
        if learned is None:
            return None
        adapters: dict[Digest, bytes] = {}
        try:
            followed = self._follow(learned, adapters)
            if followed.missing and followed.code != WAITS_FOR_RECEIPTS:
                adapters = self._fetched(followed.missing)
                followed = self._follow(learned, adapters)
        except Refused as refused:
            self._learned = None
            if refused.code not in NOT_THE_BRINGERS:
                self._tell(learned, refused.code.value, f"but refused it: {refused.sentence}")
            return None
        except NodeError as error:
            self._tell(learned, error.code, f"but did not install it: {error.sentence}")
            return None
        if followed.code == WAITS_FOR_RECEIPTS:
            why = "waiting for its parent's verdicts in between"
            self._tell(learned, followed.code, f"{why}: only the parent has them.")
        elif followed.missing:
            names = ", ".join(f"{digest[:12]}…" for digest in followed.missing)
            self._tell(learned, "missing-artefacts", f"waiting for {names}.")
        else:
            self._forget_installed()
            if not followed.code:
                log.info("learned-from-sibling", sibling=learned.bringer.name)
                self._on_installed()
        return followed

    def _follow(self, learned: _Learned, adapters: dict[Digest, bytes]) -> Followed:
        return self._installer.follow_snapshot(learned.envelope, learned.releases, adapters.get)

    def _fetched(self, missing: Sequence[Digest]) -> dict[Digest, bytes]:
        fetched: dict[Digest, bytes] = {}
        for digest in missing:
            try:
                data = self._fetch(digest)
            except NodeError as error:
                log.info("adapter-not-fetched", digest=digest, code=error.code)
                continue
            if data is not None:
                fetched[digest] = data
        return fetched

    # -- what is known

    def _forget_installed(self) -> None:
        """Forget what was learned once it, or something newer, is installed."""
        learned, above = self._learned, self._node.state.above
        if learned and learned.snapshot.sequence <= above.sequence:
            self._learned = None
            if self._troubles:
                self._troubles.clear(TROUBLE)

    def _tell(self, learned: _Learned, code: str, why: str) -> None:
        installed = {link.scope: link.version for link in self._node.state.above.links}
        news = [
            f"version {entry.version} of {entry.scope}"
            for entry in learned.snapshot.chain
            if entry.version > installed.get(str(entry.scope), 0)
        ]
        what = " and ".join(news) or "a newer snapshot"
        sentence = f"Learned of {what} from {learned.bringer.name}, {why}"
        log.info("chain-waits", code=code, sentence=sentence)
        if self._troubles:
            self._troubles.report(TROUBLE, code, sentence)

    def _have(self) -> int:
        known = self._learned.snapshot.sequence if self._learned else 0
        return max(known, self._node.state.above.sequence)

    def _scope(self) -> str:
        parent = self._node.home.parent
        assert parent is not None  # noqa: S101  a root has no siblings
        return str(parent.scope)

    def _drawn(self, siblings: Sequence[Sibling]) -> list[Sibling]:
        """Draw some of the siblings at random, so that not all ask the same."""
        rest, drawn = list(siblings), list[Sibling]()
        while rest and len(drawn) < AT_ONCE:
            drawn.append(rest.pop(self._randomness.bits(32) % len(rest)))
        return drawn
