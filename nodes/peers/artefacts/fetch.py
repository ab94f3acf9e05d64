"""Fetch an artefact by its digest from whoever has it, and find out who gave wrong bytes.

The parts of an artefact have no digests of their own. So where a whole that came from several
sources is wrong, what each gave is remembered, and the artefact is fetched from one source after
the other, the one in best standing first. Once the right bytes are here, exactly those sources are
at fault whose parts differ from them.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.machine.randomness import Randomness, SystemRandomness
from nodes.peers.artefacts.partial import PART, MemoryParts, Parts, partial_file
from nodes.peers.artefacts.pool import Pace, Pool
from nodes.peers.artefacts.source import (
    Fault,
    Location,
    OnFault,
    OnProgress,
    Source,
    shuffled,
)
from nodes.peers.artefacts.standing import Standing
from nodes.peers.artefacts.transfer import OnBytes, Transfer
from nodes.state.records import ZERO
from protocol import Digest, NodeId, ProtocolError, digest_of

log = structlog.get_logger()

MOST_ASKED = 8
"""Siblings that are asked whether they have an artefact."""
LOCATE_S = 10.0
MOST_TORRENT_BYTES = 2 * 1024 * 1024
EMPTY = digest_of(b"")


@dataclass(frozen=True)
class _Claim:
    """A source that says it has the artefact, and how long it is."""

    source: Source
    length: int
    torrent: Digest


class Carry(Protocol):
    """The interface of a swarm: ``nodes.peers.swarm.circle_swarm.CircleSwarm``."""

    def fetch(
        self,
        torrent: bytes,
        into: Path,
        digest: Digest,
        on_progress: OnProgress,
        stop: threading.Event,
    ) -> None:
        """Fetch an artefact into a file, and give it on from there. Raises ``NodeError``."""

    def moved(self, digest: Digest, path: Path) -> None:
        """Give it on from another place."""


class Fetcher:
    """Fetches artefacts for one node. Thread-safe.

    Args:
        sources: the nodes that can be asked at present: the parent and siblings.
        staging: a folder where large artefacts arrive that are handed on as bytes.
        on_fault: told of every fault; see ``standing.FaultBook``.
        on_bytes: told of what came from whom; see ``traffic.ByteCounts``.
        threads: sources that are read from at once.
        swarm: carries what the parent describes for a swarm; what it cannot, the sources do.
    """

    def __init__(
        self,
        sources: Callable[[], Sequence[Source]],
        staging: Path,
        standing: Standing,
        clock: Clock,
        on_fault: OnFault,
        *,
        on_bytes: OnBytes = lambda _node, _count: None,
        randomness: Randomness | None = None,
        threads: int = 4,
        pace: Pace | None = None,
        swarm: Carry | None = None,
    ) -> None:
        self._swarm = swarm
        self._sources, self._staging, self._standing = sources, staging, standing
        self._clock, self._on_fault, self._on_bytes = clock, on_fault, on_bytes
        self._randomness, self._threads = randomness or SystemRandomness(), threads
        self._pace = pace or Pace()

    def fetch(
        self,
        digest: Digest,
        into: Path,
        *,
        most: int,
        length: int | None = None,
        stop: threading.Event | None = None,
        on_progress: OnProgress = lambda _here, _all: None,
    ) -> None:
        """Fetch an artefact into a file. What is here of it already is not fetched again.

        Args:
            most: bytes that the artefact may have at most.
            length: bytes that it has, where that is known from something signed.
            on_progress: told of the bytes that are here, and of all.

        Raises:
            NodeError: ``no-source`` where nobody gives it, ``wrong-digest`` where nobody gives the
                right bytes, ``stalled``, ``busy`` where it is being fetched already, ``no-room``,
                ``disk-error``, ``stopped``. What arrived stays for the next call, but for wrong
                bytes.
        """

        stopped = stop or threading.Event()

        def complete(claimed: int, claims: Sequence[_Claim]) -> None:
            torrent = next((c.torrent for c in claims if c.torrent and c.source.is_origin), ZERO)
            if torrent and self._by_swarm(torrent, digest, into, stopped, on_progress):
                return
            with partial_file(into, digest, claimed) as file:
                self._complete(file, claims, stopped, on_progress)

        if digest == EMPTY:
            complete(0, ())
        else:
            self._by_length(digest, most, length, complete)

    def get(self, digest: Digest, *, most: int, stop: threading.Event | None = None) -> bytes:
        """Fetch an artefact as bytes: a small one in memory, a larger one by way of ``staging``.

        Raises as ``fetch``.
        """
        stopped, got = stop or threading.Event(), bytearray()

        def complete(claimed: int, claims: Sequence[_Claim]) -> None:
            if claimed <= PART:
                parts = MemoryParts(digest, claimed)
                self._complete(parts, claims, stopped, lambda _here, _all: None)
                got.extend(parts.data)
                return
            path = self._staging / digest
            with partial_file(path, digest, claimed) as file:
                self._complete(file, claims, stopped, lambda _here, _all: None)
                got.extend(path.read_bytes())
                path.unlink()

        if digest != EMPTY:
            self._by_length(digest, most, None, complete)
        return bytes(got)

    def moved(self, digest: Digest, path: Path) -> None:
        """Take note that an artefact that was fetched lies elsewhere now."""
        if self._swarm is not None:
            self._swarm.moved(digest, path)

    def announce(self, digests: Sequence[Digest]) -> None:
        """Say that this node has artefacts now, to those who remember such things."""
        for source in self._sources():
            if source.is_origin:
                with suppress(NodeError, ProtocolError, OSError):
                    source.announce(digests)

    def _by_swarm(
        self,
        torrent: Digest,
        digest: Digest,
        into: Path,
        stop: threading.Event,
        on_progress: OnProgress,
    ) -> bool:
        """Let the swarm carry an artefact; return whether it did. What it cannot, gRPC does."""
        if self._swarm is None:
            return False
        try:
            described = self.get(torrent, most=MOST_TORRENT_BYTES, stop=stop)
            self._swarm.fetch(described, into, digest, on_progress, stop)
        except NodeError as error:
            if error.code == "stopped":
                raise
            log.info("not-by-swarm", digest=digest, code=error.code, why=error.sentence)
            return False
        return True

    # -- who has it

    def _by_length(
        self,
        digest: Digest,
        most: int,
        length: int | None,
        complete: Callable[[int, Sequence[_Claim]], None],
    ) -> None:
        """Fetch from those who name one length, beginning with the one that most name.

        Once it is here, whoever named another length is at fault.
        """
        claims = self._locate(digest)
        plausible = [c for c in claims if 0 < c.length <= most and length in (None, c.length)]
        if not plausible:
            raise self._nobody(digest, claims)
        counted = Counter(claim.length for claim in plausible)
        error: NodeError | None = None
        for claimed, _ in counted.most_common():
            try:
                complete(claimed, [claim for claim in plausible if claim.length == claimed])
            except NodeError as failed:
                if failed.code not in ("no-source", "wrong-digest"):
                    raise
                error = failed
            else:
                for claim in claims:
                    if claim.length not in (0, claimed):
                        self._report(Fault.wrong_length(claim.source.name, digest))
                return
        assert error is not None  # noqa: S101  there was one length at least
        raise error

    def _locate(self, digest: Digest) -> list[_Claim]:
        """Ask who has it: the parent, holders that it names, and some other siblings."""
        sources = [s for s in self._sources() if self._standing.may_ask(s.name)]
        origins = [source for source in sources if source.is_origin]
        answers = self._ask(origins, digest)
        named = {holder for _, location in answers for holder in location.holders}
        siblings = shuffled(self._randomness, [s for s in sources if not s.is_origin])
        siblings.sort(key=lambda source: source.name not in named)
        answers += self._ask(siblings[:MOST_ASKED], digest)
        return [_Claim(source, said.length, said.torrent) for source, said in answers if said.here]

    def _ask(self, sources: Sequence[Source], digest: Digest) -> list[tuple[Source, Location]]:
        """Ask sources at once; those that do not answer in time are left out."""
        answers: queue.Queue[tuple[Source, Location | None]] = queue.Queue()

        def ask(source: Source) -> None:
            location = None
            try:
                [location] = source.locate([digest])
            except Exception as error:
                log.debug("not-located", source=source.name[:12], why=str(error))
            answers.put((source, location))

        for source in sources:
            threading.Thread(target=ask, args=[source], daemon=True).start()
        located: list[tuple[Source, Location]] = []
        until = self._clock.monotonic() + LOCATE_S
        for _ in sources:
            try:
                left = max(0.0, until - self._clock.monotonic())
                source, location = answers.get(timeout=left)
            except queue.Empty:
                break
            if location is not None:
                located.append((source, location))
        return located

    def _nobody(self, digest: Digest, claims: Sequence[_Claim]) -> NodeError:
        if claims:
            return NodeError(
                "no-source",
                f"Who has artefact {digest[:12]}… says that it has {claims[0].length:,} bytes, "
                "which cannot be.",
            )
        paused = sum(not self._standing.may_ask(source.name) for source in self._sources())
        but = f" {paused} that gave wrong bytes before are not asked." if paused else ""
        return NodeError("no-source", f"Nobody who answers has artefact {digest[:12]}….{but}")

    # -- one length

    def _complete(
        self,
        parts: Parts,
        claims: Sequence[_Claim],
        stop: threading.Event,
        on_progress: OnProgress,
    ) -> None:
        """Fetch the parts until the whole has its digest."""
        sources = [claim.source for claim in claims]
        alone, error = False, None
        while True:
            sources = [s for s in sources if self._standing.may_ask(s.name)]
            now = self._in_order(sources, parts)[:1] if alone else sources
            if alone:
                parts.keep_only(now[0].name if now else None)
            try:
                self._transfer(parts, now, stop, on_progress, grows=not alone)
            except NodeError as failed:
                if not alone or failed.code not in ("no-source", "stalled") or len(sources) < 2:
                    raise error or failed from None
                sources = [source for source in sources if source not in now]
                continue
            if parts.finish():
                self._blame(parts.suspects(), parts.digest)
                return
            error = NodeError(
                "wrong-digest", f"Artefact {parts.digest[:12]}… arrived with another digest."
            )
            givers = parts.givers
            if len(givers) == 1:
                self._blame(givers, parts.digest)
                sources = [source for source in sources if source.name not in givers]
                parts.keep_only(None)
            else:
                log.warning("artefact-wrong", digest=parts.digest, sources=len(givers))
                alone = True
            if not any(self._standing.may_ask(source.name) for source in sources):
                raise error

    def _transfer(
        self,
        parts: Parts,
        sources: Iterable[Source],
        stop: threading.Event,
        on_progress: OnProgress,
        *,
        grows: bool,
    ) -> None:
        def find() -> list[Source]:
            claims = self._locate(parts.digest)
            return [claim.source for claim in claims if claim.length == parts.length]

        Transfer(
            parts,
            Pool(sources, self._clock, self._randomness, self._pace),
            clock=self._clock,
            pace=self._pace,
            threads=self._threads,
            find=find if grows else None,
            on_bytes=self._on_bytes,
            on_fault=self._report,
            on_progress=on_progress,
        ).run(stop)

    def _in_order(self, sources: Sequence[Source], parts: Parts) -> list[Source]:
        """Order sources by their standing; among equals, who gave most is asked for least."""
        givers, faults = parts.givers, self._standing.faults
        mixed = shuffled(self._randomness, sources)
        return sorted(mixed, key=lambda s: (faults(s.name), -givers.get(s.name, 0)))

    def _blame(self, nodes: Iterable[NodeId], digest: Digest) -> None:
        for node in nodes:
            self._report(Fault.wrong_bytes(node, digest))

    def _report(self, fault: Fault) -> None:
        """Report a fault; one of a node that is paused for another is no news."""
        if self._standing.may_ask(fault.peer):
            self._on_fault(fault)
