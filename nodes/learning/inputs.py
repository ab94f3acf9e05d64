"""Look at what a node was told to read, before it starts: its base, its text, its probes.

A mistake there costs nothing but silence later: a device without text abstains in every round.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from aggregation.gate import ProbeKind
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.machine.troubles import Troubles
from nodes.state.home import Home
from nodes.text.documents import Part
from nodes.text.files import read_texts
from nodes.text.probe_files import read_probes
from nodes.text.replay_buffer import sizes_in

log = structlog.get_logger()


@dataclass(frozen=True)
class InputProblem:
    """Something in ``node.toml`` that names what is not there or cannot be read.

    Attributes:
        key: what it is about, as in ``Troubles``.
        ends: whether the node is of no use with it.
    """

    key: str
    error: NodeError
    ends: bool = False


def check_inputs(home: Home, config: NodeConfig) -> list[InputProblem]:
    """Return every problem with a node's base, text files and probe files, in reading order."""
    return [*_base(config), *_texts(home, config), *_probes(config)]


class Inputs:
    """What a running node reads, checked at its start and, while something is wrong, again."""

    def __init__(self, home: Home, config: NodeConfig, troubles: Troubles) -> None:
        self._home, self._config, self._troubles = home, config, troubles
        self._standing: frozenset[str] = frozenset()

    def check(self) -> None:
        """Report what is wrong as troubles and in the log.

        Raises the ``NodeError`` of the first problem with which the node is of no use.
        """
        problems = check_inputs(self._home, self._config)
        for problem in problems:
            if problem.ends:
                raise problem.error
        self._report(problems)

    def check_again(self) -> None:
        """Look again at what was wrong at the last check, and clear what is right by now."""
        if self._standing:
            self._report(check_inputs(self._home, self._config))

    def _report(self, problems: list[InputProblem]) -> None:
        keys = frozenset(problem.key for problem in problems)
        for problem in problems:
            code, sentence = problem.error.code, problem.error.sentence
            self._troubles.report(problem.key, code, sentence)
            if problem.key not in self._standing:
                log.warning("input-refused", what=problem.key, code=code, why=sentence)
        for key in self._standing - keys:
            self._troubles.clear(key)
            log.info("input-read", what=key)
        self._standing = keys


def _base(config: NodeConfig) -> Iterator[InputProblem]:
    folder = config.model.base
    if not any(folder.glob("*.safetensors")):
        sentence = (
            f"There is no base in {folder}. If it moved, say where it is now: "
            f"[model] base in node.toml."
        )
        yield InputProblem("base", NodeError("no-base", sentence), ends=True)


def _texts(home: Home, config: NodeConfig) -> Iterator[InputProblem]:
    """Yield what is wrong with the text; it ends a device that has none of all it was given."""
    data, problems, readable = config.data, [], 0
    for path in data.train:
        try:
            if not read_texts(path):
                raise NodeError("no-text", f"{path} holds no text.")
            readable += 1
        except NodeError as refused:
            problems.append((f"text:{path.name}", refused))
    if data.watch is not None:
        if data.watch.is_dir():
            readable += 1
        else:
            sentence = f"The watched folder {data.watch} is not there."
            problems.append(("text:watch", NodeError("no-watch-folder", sentence)))
    nothing = home.is_device and not readable and not _has_stored(home)
    if nothing and not problems:
        sentence = (
            "This device has no text, so it follows the network and sends nothing: name files "
            "under [data] train in node.toml, or a folder as [data] watch."
        )
        yield InputProblem("text", NodeError("no-data", sentence))
    for key, error in problems:
        yield InputProblem(key, error, ends=nothing)


def _has_stored(home: Home) -> bool:
    training = sizes_in(home.folder).get(Part.TRAINING, {})
    return any(size.offered_documents for size in training.values())


def _probes(config: NodeConfig) -> Iterator[InputProblem]:
    for source, path in config.data.probes.items():
        try:
            read_probes(path, config.gate.kinds.get(source, ProbeKind.ORDINARY))
        except NodeError as error:
            yield InputProblem(f"probes:{source}", error, ends=True)
