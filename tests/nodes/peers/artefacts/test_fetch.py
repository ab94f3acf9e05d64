"""Artefacts from several sources, of which some fail, stall or lie."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nodes.errors import NodeError
from nodes.machine.clock import ManualClock
from nodes.peers.artefacts.partial import PART
from nodes.peers.artefacts.pool import Pace
from nodes.peers.artefacts.source import TOO_MUCH, WRONG_BYTES, WRONG_LENGTH
from nodes.peers.wire.errors import PeerError
from protocol import Digest, digest_of
from tests.nodes.peers.artefacts.sources import (
    CALM,
    QUICK,
    Busy,
    Down,
    Early,
    Fetching,
    Garbage,
    MemorySource,
    More,
    Stuck,
    name_of,
)

DATA = random.Random(0).randbytes(12 * PART + 12345)
DIGEST = digest_of(DATA)
HAS = {DIGEST: DATA}
MOST = 1 << 30


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    """Those that are stuck are stuck until the end of their test."""
    Stuck.released = threading.Event()
    yield
    Stuck.released.set()


def fetch(fetching: Fetching, most: int = MOST, length: int | None = None) -> bytes:
    into = fetching.folder / "got"
    fetching.fetcher.fetch(DIGEST, into, most=most, length=length)
    return into.read_bytes()


def test_several_holders_give_parts_and_the_origin_is_left_in_peace(tmp_path: Path) -> None:
    holders = [MemorySource(word, HAS) for word in "abcd"]
    origin = MemorySource("origin", HAS, is_origin=True)
    fetching = Fetching(tmp_path, [origin, *holders])
    steps: list[tuple[int, int]] = []
    into = tmp_path / "in" / "got"
    fetching.fetcher.fetch(DIGEST, into, most=MOST, on_progress=lambda *s: steps.append(s))
    assert into.read_bytes() == DATA
    assert sum(bool(holder.reads) for holder in holders) > 1
    assert not origin.reads
    assert steps[-1] == (len(DATA), len(DATA))
    assert [here for here, _ in steps] == sorted(here for here, _ in steps)
    assert not fetching.faults
    assert sum(fetching.taken.values()) >= len(DATA)
    assert [path.name for path in into.parent.iterdir()] == ["got"]


def test_the_origin_alone_gives_everything_once(tmp_path: Path) -> None:
    origin = MemorySource("origin", HAS, is_origin=True)
    fetching = Fetching(tmp_path, [origin, MemorySource("a")], pace=Pace())
    assert fetch(fetching) == DATA
    assert fetching.taken == {origin.name: len(DATA)}


def test_holders_that_the_origin_names_are_asked_first(tmp_path: Path) -> None:
    holder = MemorySource("holder", HAS)
    others = [MemorySource(f"other {i}") for i in range(40)]
    origin = MemorySource("origin", HAS, is_origin=True, holders={DIGEST: [holder.name]})
    fetching = Fetching(tmp_path, [origin, *others, holder])
    assert fetch(fetching) == DATA
    assert holder.reads


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bad", [1, 2])
def test_a_source_of_garbage_is_named_and_nobody_else(tmp_path: Path, bad: int, seed: int) -> None:
    garbage = [Garbage(f"bad {i}", HAS) for i in range(bad)]
    sources = [MemorySource("a", HAS), *garbage, MemorySource("b", HAS)]
    calm = replace(CALM, double=3600, slow=3600)
    fetching = Fetching(tmp_path, list(sources), seed=seed, pace=calm)
    assert fetch(fetching) == DATA
    guilty = {source.name for source in garbage if source.reads}
    assert guilty
    assert fetching.named == {(name, WRONG_BYTES) for name in guilty}
    assert len(fetching.faults) == len(guilty)
    for source in sources:
        source.reads.clear()
    assert fetch(fetching) == DATA  # those are not asked now
    assert not any(source.reads for source in garbage if source.name in guilty)


def test_only_garbage_leaves_nothing_and_names_everybody(tmp_path: Path) -> None:
    sources: list[MemorySource] = [Garbage(word, HAS) for word in "abc"]
    fetching = Fetching(tmp_path, sources, pace=CALM)
    with pytest.raises(NodeError) as refused:
        fetch(fetching)
    assert refused.value.code == "wrong-digest"
    assert not (tmp_path / "got").exists()
    assert fetching.named == {(source.name, WRONG_BYTES) for source in sources}
    with pytest.raises(NodeError) as nobody:
        fetch(fetching)
    assert nobody.value.code == "no-source"
    fetching.sources = [*sources, MemorySource("good", HAS)]
    assert fetch(fetching) == DATA


def test_a_stuck_source_and_one_that_is_down_hold_nobody_up(tmp_path: Path) -> None:
    stuck = [Stuck(f"stuck {i}", HAS) for i in range(4)]
    good = MemorySource("good", HAS)
    fetching = Fetching(tmp_path, [*stuck, Down("down", HAS), good])
    assert fetch(fetching) == DATA
    assert not fetching.faults  # to be slow is no fault


def test_the_last_part_is_asked_of_another_source(tmp_path: Path) -> None:
    patient = Pace(double=0.02, stall=3600, slow=3600, look=0.01)  # nothing else helps
    fetching = Fetching(tmp_path, [Stuck("a", HAS), MemorySource("b", HAS)], pace=patient)
    assert fetch(fetching) == DATA


@pytest.mark.parametrize("kind", [Early, More])
def test_a_source_that_sends_less_or_more_changes_nothing(
    tmp_path: Path, kind: type[MemorySource]
) -> None:
    odd = kind("odd", HAS)
    fetching = Fetching(tmp_path, [odd, MemorySource("good", HAS)])
    assert fetch(fetching) == DATA
    expected = {(odd.name, TOO_MUCH)} if kind is More and odd.reads else set()
    assert fetching.named == expected


def test_a_source_that_only_sends_more_is_refused(tmp_path: Path) -> None:
    fetching = Fetching(tmp_path, [More("more", HAS)])
    with pytest.raises(NodeError) as refused:
        fetch(fetching)
    assert refused.value.code == "no-source"
    assert sum(path.stat().st_size for path in tmp_path.glob(".got.part")) <= len(DATA)


def test_a_source_that_is_overloaded_is_asked_again(tmp_path: Path) -> None:
    busy = Busy("busy", HAS, is_origin=True)
    fetching = Fetching(tmp_path, [busy])
    assert fetch(fetching) == DATA
    assert busy.refusals == 0


class AlwaysBusy(MemorySource):
    """Says each time that it is overloaded."""

    def bytes_of(self, digest: Digest, offset: int, length: int) -> bytes:
        raise PeerError("overloaded", "Come back.", 10)


def test_holders_that_are_always_overloaded_do_not_keep_the_origin_away(tmp_path: Path) -> None:
    origin = MemorySource("origin", HAS, is_origin=True)
    busy = [AlwaysBusy(f"busy {i}", HAS) for i in range(5)]
    assert fetch(Fetching(tmp_path, [origin, *busy])) == DATA


def test_who_waits_for_its_turn_is_not_given_up(tmp_path: Path) -> None:
    busy = Busy("busy", HAS, is_origin=True)
    busy.refusals = 20
    impatient = replace(QUICK, patience=0.5, failures=1)
    assert fetch(Fetching(tmp_path, [busy], pace=impatient)) == DATA


@pytest.mark.parametrize("known", [True, False])
def test_who_names_a_wrong_length_is_at_fault_and_believed_by_nobody(
    tmp_path: Path, known: bool
) -> None:
    liars = [MemorySource(f"liar {i}", HAS, claims=len(DATA) - 1) for i in range(2)]
    huge = MemorySource("huge", HAS, claims=1 << 62)
    good = MemorySource("good", HAS)
    fetching = Fetching(tmp_path, [*liars, huge, good])
    assert fetch(fetching, length=len(DATA) if known else None) == DATA
    assert good.name not in {fault.peer for fault in fetching.faults}
    assert (huge.name, WRONG_LENGTH) in fetching.named
    assert {name for name, _ in fetching.named} == {huge.name, *(liar.name for liar in liars)}


def test_an_implausible_length_is_not_begun(tmp_path: Path) -> None:
    fetching = Fetching(tmp_path, [MemorySource("huge", HAS)])
    with pytest.raises(NodeError) as refused:
        fetch(fetching, most=1000)
    assert refused.value.code == "no-source"
    assert not list(tmp_path.glob(".got*"))


def test_nobody_has_it(tmp_path: Path) -> None:
    fetching = Fetching(tmp_path, [MemorySource("a"), Down("down", HAS)])
    with pytest.raises(NodeError) as refused:
        fetch(fetching)
    assert refused.value.code == "no-source"


class Stopping(MemorySource):
    """Says ``stopped``, as if this node itself were to stop."""

    def bytes_of(self, digest: Digest, offset: int, length: int) -> bytes:
        raise PeerError("stopped", "Stop.")


def test_what_another_node_says_is_not_this_nodes_own_error(tmp_path: Path) -> None:
    with pytest.raises(NodeError) as refused:
        fetch(Fetching(tmp_path, [Stopping("a", HAS)]))
    assert refused.value.code == "no-source"


def test_a_fetch_is_stopped(tmp_path: Path) -> None:
    stop = threading.Event()
    fetching = Fetching(tmp_path, [Stuck("a", HAS)])
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(NodeError) as stopped:
        fetching.fetcher.fetch(DIGEST, tmp_path / "got", most=MOST, stop=stop)
    assert stopped.value.code == "stopped"


class Counted(MemorySource):
    """Goes down after some reads."""

    left: int = 2

    def bytes_of(self, digest: Digest, offset: int, length: int) -> bytes:
        if self.left == 0:
            raise PeerError("link-down", "cut")
        self.left -= 1
        return super().bytes_of(digest, offset, length)


def test_a_fetch_goes_on_where_it_stopped(tmp_path: Path) -> None:
    fetching = Fetching(tmp_path, [Counted("a", HAS)])
    with pytest.raises(NodeError):
        fetch(fetching)
    before = sum(fetching.taken.values())
    assert 0 < before < len(DATA)
    fetching.sources = [MemorySource("b", HAS)]
    assert fetch(fetching) == DATA
    assert sum(fetching.taken.values()) == len(DATA)  # no byte twice


def test_holders_that_come_up_meanwhile_are_found(tmp_path: Path) -> None:
    late = MemorySource("late", HAS)

    class Dying(Counted):
        def bytes_of(self, digest: Digest, offset: int, length: int) -> bytes:
            if self.left == 1:
                fetching.sources.append(late)
            return super().bytes_of(digest, offset, length)

    fetching = Fetching(tmp_path, [Dying("a", HAS)], pace=QUICK)
    assert fetch(fetching) == DATA
    assert late.reads


@pytest.mark.parametrize("length", [0, 1, PART, PART + 1])
def test_bytes_are_fetched_small_and_large(tmp_path: Path, length: int) -> None:
    data = DATA[:length]
    digest = digest_of(data)
    fetching = Fetching(tmp_path, [MemorySource("a", {digest: data})])
    assert fetching.fetcher.get(digest, most=MOST) == data
    assert not (tmp_path / "staging" / digest).exists()


def test_small_garbage_is_named_too(tmp_path: Path) -> None:
    small = {digest_of(b"small"): b"small"}
    bad = Garbage("bad", small)
    fetching = Fetching(tmp_path, [bad])
    with pytest.raises(NodeError) as refused:
        fetching.fetcher.get(digest_of(b"small"), most=MOST)
    assert refused.value.code == "wrong-digest"
    assert fetching.named == {(bad.name, WRONG_BYTES)}


def test_having_is_announced_to_the_origin(tmp_path: Path) -> None:
    origin, sibling = MemorySource("origin", is_origin=True), MemorySource("a")
    Fetching(tmp_path, [origin, sibling]).fetcher.announce([DIGEST])
    assert (origin.announced, sibling.announced) == ([DIGEST], [])


def test_a_paused_source_is_asked_again_after_its_pause(tmp_path: Path) -> None:
    clock = ManualClock()
    fetching = Fetching(tmp_path, [MemorySource("a", HAS)])
    fetching.standing._clock = clock
    fetching.standing.fault(name_of("a"), "wrong-bytes")
    with pytest.raises(NodeError, match="are not asked"):
        fetch(fetching)
    clock.advance(10 * 60_000)
    assert fetch(fetching) == DATA


FETCHER = """
import sys
from pathlib import Path
from tests.nodes.peers.artefacts.sources import Fetching, Stuck, MemorySource
from nodes.peers.artefacts.partial import PART
from protocol import digest_of
data = Path(sys.argv[1]).read_bytes()
class HalfStuck(Stuck):
    def chunks(self, data):
        yield data[: PART]
        self.released.wait()
fetching = Fetching(Path(sys.argv[2]), [HalfStuck("a", {digest_of(data): data})], threads=1)
fetching.fetcher.fetch(
    digest_of(data), Path(sys.argv[2]) / "got", most=1 << 30,
    on_progress=lambda here, _: print(here, flush=True),
)
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_fetch_costs_one_part(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    arguments = [sys.executable, "-c", FETCHER, str(tmp_path / "data"), str(tmp_path)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    here = 0
    while here == 0:
        here = int(process.stdout.readline())
    process.kill()
    process.communicate()
    fetching = Fetching(tmp_path, [MemorySource("b", HAS)])
    assert fetch(fetching) == DATA
    assert sum(fetching.taken.values()) <= len(DATA) - here
