"""The text of one node: its operator's files, what arrives, and the stored past.

All text that is trained on goes through the replay buffer. Probes, of the operator's files or of
the buffer, are never handed out for training. The buffer is open only
while it is used: commands may work on it while the node runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from aggregation.gate import ProbeKind
from aggregation.replay import ONLY_NEW, ONLY_OLD, Portion, canonical_text, shift
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.learning.lesson import Lesson, arrived
from nodes.machine.clock import Clock
from nodes.model.probe import Probe
from nodes.state.home import Home
from nodes.text.documents import Part
from nodes.text.files import read_texts
from nodes.text.probe_files import read_probes
from nodes.text.replay_buffer import FILE, ReplayBuffer, TakenIn
from nodes.text.watched_folder import Arrivals, Limits, Scan
from protocol import NodeId

log = structlog.get_logger()

Texts = Mapping[str, Mapping[str, str]]
"""For each source id → text."""


class StoredCorpus:
    """The text of one node, from its operator's files and its state folder.

    Raises ``NodeError`` ``no-text``, ``bad-text`` or ``bad-probe`` for a file of probes that cannot
    be read.
    """

    def __init__(self, home: Home, config: NodeConfig, clock: Clock) -> None:
        self._home, self._config, self._clock = home, config, clock
        kinds = config.gate.kinds
        self.operators_probes: dict[str, list[Probe]] = {
            source: read_probes(path, kinds.get(source, ProbeKind.ORDINARY))
            for source, path in config.data.probes.items()
        }
        """The probes of the operator's files by source, in the order of the file."""
        probes = [probe for of_source in self.operators_probes.values() for probe in of_source]
        self._texts = frozenset(canonical_text(p) for p in probes if isinstance(p, str))
        # Whoever teaches a request or a planted sentence puts other words around it.
        self._withheld = frozenset(
            canonical_text(p.withheld) for p in probes if not isinstance(p, str)
        )

    # -- what comes in

    def take_in(self, source: str, texts: Iterable[str], child: NodeId | None = None) -> TakenIn:
        """Take in text under a source that this node names; ``child`` chose to share it."""
        with self._opened() as buffer:
            return buffer.take_in(source, texts, child)

    def scan(self) -> Scan | None:
        """Take in what is new in the watched folder; None without one.

        Raises ``NodeError`` ``no-watch-folder``.
        """
        if self._config.data.watch is None:
            return None
        with self._opened() as buffer:
            return self._scan(buffer, self._config.data.watch)

    # -- training

    def lesson(self, reads: int) -> Lesson:
        """Take in what is new, and choose what to train on.

        A fresh document is not repeated in a run while there is old text to read beside it: the
        old takes what the fresh leaves over, and at least the share that the shift demands.

        Args:
            reads: documents that the run reads.

        Raises ``NodeError`` when no file can be read (``no-text``, ``bad-text``), or no folder
        (``no-watch-folder``).
        """
        with self._opened() as buffer:
            scan = self._take_in(buffer)
            waiting, old = buffer.fresh(), self._allowed(buffer.training())
        fresh_texts = [(text, id_) for texts in waiting.values() for id_, text in texts.items()]
        # In the order of the texts, not of the buffer's secret hashes: a run can be repeated.
        fresh = {id_: text for text, id_ in sorted(fresh_texts) if not self._is_held_out(text)}
        if not fresh or not old:
            return Lesson(fresh, old, ONLY_NEW if fresh else ONLY_OLD, None, scan)
        shifted = shift(list(fresh.values()), old, self._config.replay.shift())
        asked = shifted.portion
        share = max(asked.share, 1 - len(fresh) / (reads * asked.length))
        return Lesson(fresh, old, Portion(share, asked.length), shifted, scan)

    def learned(self, ids: Iterable[str]) -> None:
        """Mark these fresh documents as learned from. Call it when the result is durable: a crash
        before trains on them once more."""
        with self._opened() as buffer:
            buffer.learned(ids)

    def to_rehearse(self) -> dict[str, list[str]]:
        """Take in what is new; return all training text by source, nothing where there is no
        text."""
        if not (self._is_there or self._config.data.train or self._config.data.watch):
            return {}
        with self._opened() as buffer:
            self._take_in(buffer)
            return self._allowed(buffer.training())

    # -- probes

    def arrived_probes(self) -> Texts:
        """Return the probes of the buffer, without those the operator's files measure with."""
        if not self._is_there:
            return {}
        with self._opened() as buffer:
            return {
                source: {id_: text for id_, text in probes.items() if not self._is_held_out(text)}
                for source, probes in buffer.probes().items()
            }

    def retire(self, ids: Iterable[str]) -> None:
        """Retire probes of the buffer that were used at many gates: others come first."""
        with self._opened() as buffer:
            buffer.retire(ids)

    # -- inside

    @property
    def _is_there(self) -> bool:
        return (self._home.folder / FILE).exists()

    @contextmanager
    def _opened(self) -> Iterator[ReplayBuffer]:
        """Open the buffer. Only a device learns; elsewhere own text is old at once."""
        budgets = self._config.replay.budgets()
        if not self._home.is_device:
            budgets = replace(budgets, fresh=0)
        with ReplayBuffer(self._home.folder, budgets) as buffer:
            yield buffer

    def _take_in(self, buffer: ReplayBuffer) -> Scan | None:
        """Take in the operator's files, and what is new in the watched folder."""
        data = self._config.data
        refused: list[NodeError] = []
        for path in data.train:
            try:
                texts = read_texts(path)
            except NodeError as error:  # it costs what is in this file, not the others
                log.warning("file-refused", path=str(path), code=error.code, why=error.sentence)
                refused.append(error)
            else:
                buffer.take_in(path.stem, texts, part=Part.TRAINING)
        if refused and len(refused) == len(data.train) and data.watch is None:
            raise refused[0]
        if data.watch is None:
            return None
        scan = self._scan(buffer, data.watch)
        for refusal in scan.refused:
            log.warning("file-refused", path=refusal.path, code=refusal.code, why=refusal.sentence)
        if scan.read:
            log.info("text-arrived", **arrived(scan))
        return scan

    def _scan(self, buffer: ReplayBuffer, folder: Path) -> Scan:
        data = self._config.data
        arrivals = Arrivals(
            folder,
            buffer,
            self._home.folder,
            self._clock,
            column=data.column,
            limits=Limits(rest_s=data.rest_s),
        )
        try:
            return arrivals.scan()
        finally:
            arrivals.close()

    def _is_held_out(self, text: str) -> bool:
        """Return whether the operator measures with this text, or it contains what a safety probe
        asks."""
        canonical = canonical_text(text)
        return canonical in self._texts or any(withheld in canonical for withheld in self._withheld)

    def _allowed(self, by_source: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Drop texts that the operator measures with; sort the others."""
        allowed = {
            source: sorted(text for text in texts if not self._is_held_out(text))
            for source, texts in by_source.items()
        }
        return {source: texts for source, texts in allowed.items() if texts}
