"""Claims about the replay buffer on disk, also after ``kill -9``."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nodes.config.sections import ReplaySettings
from nodes.errors import NodeError
from nodes.text.documents import SHARES, Budgets, Part
from nodes.text.replay_buffer import ReplayBuffer, TakenIn

KEY = bytes(range(32))
SMALL = Budgets(training=4000, probes=1500, descriptors=400)
SOURCES = ("heart", "eye", "skin")


def documents(source: str, count: int) -> list[str]:
    return [f"{source} document {i} says{' so' * (i % 7)}" for i in range(count)]


def opened(folder: Path, budgets: Budgets = SMALL) -> ReplayBuffer:
    """A buffer whose key is the same in every test."""
    folder.mkdir(exist_ok=True)
    (folder / "replay.key").write_bytes(KEY)
    return ReplayBuffer(folder, budgets)


def content(buffer: ReplayBuffer) -> object:
    return (
        buffer.fresh(),
        buffer.training(),
        buffer.probes(),
        buffer.descriptors(),
        buffer.sizes(),
    )


def training_text(buffer: ReplayBuffer) -> set[str]:
    fresh = {text for texts in buffer.fresh().values() for text in texts.values()}
    return fresh | {text for texts in buffer.training().values() for text in texts}


def probe_text(buffer: ReplayBuffer) -> set[str]:
    return {text for probes in buffer.probes().values() for text in probes.values()}


def learn_all(buffer: ReplayBuffer) -> None:
    buffer.learned([id_ for texts in buffer.fresh().values() for id_ in texts])


def test_a_document_is_taken_in_once(tmp_path: Path) -> None:
    with opened(tmp_path) as buffer:
        texts = documents("heart", 20)
        assert buffer.take_in("heart", [*texts, *texts]).added == 20
        before = content(buffer)
        copies = [f"  {text.replace(' ', '  ')}\r\n" for text in texts]
        assert buffer.take_in("heart", [*copies, " "]) == TakenIn(0, 21, 0, 0)
        assert content(buffer) == before


def test_training_text_probes_and_descriptors_are_disjoint(tmp_path: Path) -> None:
    with opened(tmp_path, Budgets()) as buffer:
        texts = documents("heart", 600)
        buffer.take_in("heart", texts)
        descriptors = set(buffer.descriptors()["heart"])
        parts = [training_text(buffer), probe_text(buffer), descriptors]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 600
        for part, share in zip(parts, SHARES.values(), strict=True):
            assert len(part) / 600 == pytest.approx(share, abs=0.06)


def test_a_probe_in_one_source_is_training_text_in_none(tmp_path: Path) -> None:
    with opened(tmp_path, Budgets()) as buffer:
        texts = documents("heart", 100)
        buffer.take_in("heart", texts)
        buffer.take_in("general", texts[:50], part=Part.PROBES)
        buffer.take_in("eye", texts, child="child")
        learn_all(buffer)
        assert set(texts[:50]) <= probe_text(buffer)
        assert not probe_text(buffer) & training_text(buffer)


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_arrival_gives_the_same_buffer(tmp_path: Path, seed: int) -> None:
    arrivals = [
        (source, child, text)
        for source in SOURCES
        for child in (None, "one", "two")
        for text in documents(f"{source} {child}", 60)
    ]
    mixed = list(arrivals)
    random.Random(seed).shuffle(mixed)
    with opened(tmp_path / "in order") as one, opened(tmp_path / "mixed") as other:
        for source in SOURCES:
            for child in (None, "one", "two"):
                one.take_in(source, documents(f"{source} {child}", 60), child)
        for source, child, text in mixed:
            other.take_in(source, [text], child)
        assert content(one) == content(other)
        learn_all(one)
        learn_all(other)
        assert content(one) == content(other)


def test_the_parts_keep_to_their_budgets_and_balance_sources(tmp_path: Path) -> None:
    with opened(tmp_path) as buffer:
        for count, source in enumerate(SOURCES, 1):
            buffer.take_in(source, documents(source, 400 * count))
        for part, sizes in buffer.sizes().items():
            held = [size.bytes for size in sizes.values()]
            assert sum(held) <= SMALL.of_part(part)
            assert max(held) - min(held) < 60  # one document
        learn_all(buffer)
        kept = {source: len("".join(texts)) for source, texts in buffer.training().items()}
        assert kept == {s: size.bytes for s, size in buffer.sizes()[Part.TRAINING].items()}


def test_no_child_fills_the_buffer(tmp_path: Path) -> None:
    with opened(tmp_path) as buffer:
        buffer.take_in("heart", documents("flood", 5000), child="flood")
        for part, sizes in buffer.sizes().items():
            assert sizes["heart"].bytes <= SMALL.child_share * SMALL.of_part(part)


def test_new_text_is_fresh_until_it_was_learned_from_whatever_the_sample_keeps(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as buffer:
        texts = documents("heart", 1000)
        buffer.take_in("heart", texts)
        fresh = buffer.fresh()["heart"]
        assert sum(map(len, fresh.values())) > SMALL.training
        assert buffer.training() == {}
        buffer.learned(list(fresh)[:10])
        assert len(buffer.fresh()["heart"]) == len(fresh) - 10
        learn_all(buffer)
        assert buffer.fresh() == {}
        assert set(buffer.training()["heart"]) < set(fresh.values())
        assert buffer.take_in("heart", texts).added == 0


def test_text_that_children_share_is_old_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as buffer:
        buffer.take_in("heart", documents("heart", 20), child="child")
        assert buffer.fresh() == {}
        assert buffer.training("heart") == buffer.training()
        assert buffer.training("eye") == {}


def test_fresh_text_is_bounded(tmp_path: Path) -> None:
    with opened(tmp_path, Budgets(fresh=1000)) as buffer:
        taken = buffer.take_in("heart", documents("heart", 200))
        waiting = "".join(buffer.fresh()["heart"].values())
        assert taken.passed_over > 0
        assert len(waiting) <= 1000


def test_only_the_beginning_of_a_long_document_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path, Budgets(document=256)) as buffer:
        buffer.take_in("heart", ["ü" * 10_000], part=Part.PROBES)
        assert probe_text(buffer) == {"ü" * 128}


def test_retired_probes_give_way_to_new_ones_and_do_not_return(tmp_path: Path) -> None:
    first, second = documents("first", 40), documents("second", 40)
    with opened(tmp_path, Budgets(probes=1200)) as buffer:
        buffer.take_in("heart", first, part=Part.PROBES)
        worn = buffer.probes()["heart"]
        buffer.retire(worn)
        assert buffer.probes()["heart"] == worn
        buffer.take_in("heart", second, part=Part.PROBES)
        held = buffer.probes()["heart"]
        assert len(held.keys() - worn.keys()) > 20
        before = content(buffer)
        assert buffer.take_in("heart", first, part=Part.PROBES).added == 0
        assert content(buffer) == before


def test_that_a_probe_has_retired_is_remembered_when_it_is_sent_again(tmp_path: Path) -> None:
    first, second = documents("first", 40), documents("second", 40)
    with opened(tmp_path, Budgets(probes=1200, child_share=1.0)) as buffer:
        buffer.take_in("heart", first, "child", part=Part.PROBES)
        worn = buffer.probes()["heart"]
        buffer.retire(worn)
        buffer.forget("child")
    with opened(tmp_path, Budgets(probes=1200, child_share=1.0)) as buffer:
        buffer.take_in("heart", first, "child", part=Part.PROBES)
        assert buffer.probes()["heart"].keys() == worn.keys()
        buffer.take_in("heart", second, "child", part=Part.PROBES)
        assert len(buffer.probes()["heart"].keys() - worn.keys()) > 20


def test_all_that_a_child_shared_can_be_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path, Budgets()) as buffer:
        buffer.take_in("heart", documents("own", 50))
        before = content(buffer)
        buffer.take_in("heart", ["secret of a patient " + t for t in documents("x", 50)], "child")
        buffer.take_in("heart", documents("own", 50), "child")
        assert buffer.forget("child") == 100
        assert content(buffer) == before
        stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"own document" in stored
        assert b"secret of a patient" not in stored


def test_settings_that_are_left_out_are_the_buffers_own() -> None:
    assert ReplaySettings().budgets() == Budgets()
    assert ReplaySettings(training_bytes=1, fresh_bytes=0).budgets() == Budgets(training=1, fresh=0)


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    with ReplayBuffer(tmp_path) as buffer:
        buffer.take_in("heart", documents("heart", 5))
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_the_key_is_made_once_and_never_replaced(tmp_path: Path) -> None:
    with ReplayBuffer(tmp_path) as buffer:
        buffer.take_in("heart", documents("heart", 50))
        before = content(buffer)
    key = (tmp_path / "replay.key").read_bytes()
    with ReplayBuffer(tmp_path) as buffer:
        assert content(buffer) == before
    (tmp_path / "replay.key").write_bytes(bytes(32))
    with pytest.raises(NodeError, match="wrong-replay-key"):
        ReplayBuffer(tmp_path)
    (tmp_path / "replay.key").unlink()
    with pytest.raises(NodeError, match="no-replay-key"):
        ReplayBuffer(tmp_path)
    (tmp_path / "replay.key").write_bytes(key)
    with ReplayBuffer(tmp_path) as buffer:
        assert content(buffer) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from nodes.state.database import Database
from tests.nodes.text.test_replay_buffer import documents, opened

folder, at = Path(sys.argv[1]), int(sys.argv[2])
buffer = opened(folder)
buffer.take_in("heart", documents("heart", 100))
write = Database.write

def write_or_die(self, statement, *values):
    global at
    at -= 1
    if at == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, statement, *values)

Database.write = write_or_die
buffer.take_in("eye", documents("eye", 100))
"""


@pytest.mark.parametrize("at", [1, 50, 190])
def test_a_call_that_is_killed_leaves_nothing_and_can_be_made_again(
    tmp_path: Path, at: int
) -> None:
    folder, root = tmp_path / "killed", Path(__file__).resolve().parents[3]
    run = [sys.executable, "-c", KILLED, str(folder), str(at)]
    assert subprocess.run(run, cwd=root, check=False).returncode == -signal.SIGKILL
    with opened(folder) as killed, opened(tmp_path / "whole") as whole:
        whole.take_in("heart", documents("heart", 100))
        assert content(killed) == content(whole)
        assert killed.take_in("eye", documents("eye", 100)).added == 100
        whole.take_in("eye", documents("eye", 100))
        assert content(killed) == content(whole)
