"""Claims about the artefact store, on real files."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodes.state.artefacts import ArtefactError, ArtefactStore
from protocol import Digest, digest_of
from tests.processes import started

NOWHERE = digest_of(b"never stored")


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path / "artefacts")


def file_of(store_folder: Path, digest: Digest) -> Path:
    return store_folder / "artefacts" / digest[:2] / digest


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the kernel refuse to make any file longer than ``size`` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


def test_what_was_put_comes_back_by_its_digest(store: ArtefactStore) -> None:
    digest = store.put(b"a delta")
    assert digest == digest_of(b"a delta")
    assert store.get(digest) == b"a delta"
    assert store.size(digest) == 7


def test_putting_the_same_bytes_twice_stores_them_once(store: ArtefactStore) -> None:
    store.put(b"same")
    store.put(b"same")
    assert list(store.digests()) == [digest_of(b"same")]
    assert store.total_bytes() == 4


def test_a_missing_artefact_is_reported_as_missing(store: ArtefactStore) -> None:
    for ask in (store.get, store.size):
        with pytest.raises(ArtefactError) as missing:
            ask(NOWHERE)
        assert missing.value.code == "missing-artefact"
    assert not store.has(NOWHERE)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_a_name_that_is_no_digest_reaches_no_file(store: ArtefactStore, name: str) -> None:
    assert not store.has(Digest(name))
    with pytest.raises(ArtefactError) as missing:
        store.get(Digest(name))
    assert missing.value.code == "missing-artefact"


def test_a_changed_file_is_never_returned(store: ArtefactStore, tmp_path: Path) -> None:
    digest = store.put(b"honest bytes")
    file_of(tmp_path, digest).write_bytes(b"forged bytes")
    with pytest.raises(ArtefactError) as corrupt:
        store.get(digest)
    assert corrupt.value.code == "corrupt-artefact"


def test_a_changed_file_is_moved_aside_and_can_be_stored_again(
    store: ArtefactStore, tmp_path: Path
) -> None:
    digest = store.put(b"honest bytes")
    file_of(tmp_path, digest).write_bytes(b"forged bytes")
    with pytest.raises(ArtefactError):
        store.get(digest)
    assert not store.has(digest)
    assert [p.read_bytes() for p in (tmp_path / "artefacts/corrupt").iterdir()] == [b"forged bytes"]
    assert store.get(store.put(b"honest bytes")) == b"honest bytes"


def test_a_cut_off_file_is_repaired_by_storing_it_again(
    store: ArtefactStore, tmp_path: Path
) -> None:
    digest = store.put(b"whole")
    file_of(tmp_path, digest).write_bytes(b"wh")
    store.put(b"whole")
    assert store.get(digest) == b"whole"


def test_a_full_disk_is_reported_and_leaves_nothing_behind(
    store: ArtefactStore, tmp_path: Path
) -> None:
    with files_of_at_most(1000), pytest.raises(ArtefactError) as full:
        store.put(bytes(100_000))
    assert full.value.code == "disk-full"
    assert list(store.digests()) == []
    assert not list((tmp_path / "artefacts").glob(".part-*"))


def test_after_a_full_disk_the_same_bytes_can_be_stored(store: ArtefactStore) -> None:
    with files_of_at_most(1000), pytest.raises(ArtefactError):
        store.put(bytes(100_000))
    assert store.get(store.put(bytes(100_000))) == bytes(100_000)


ENDLESS_WRITER = """
import sys
from pathlib import Path
from nodes.state.artefacts import ArtefactStore
store = ArtefactStore(Path(sys.argv[1]))
number = 0
while True:
    print(store.put(number.to_bytes(4, "big") * 200_000), flush=True)
    number += 1
"""


@pytest.mark.parametrize("acknowledged", [1, 3, 8])
def test_a_killed_writer_leaves_only_whole_artefacts(tmp_path: Path, acknowledged: int) -> None:
    folder = tmp_path / "artefacts"
    command = [sys.executable, "-c", ENDLESS_WRITER, str(folder)]
    with started(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        stored = [Digest(writer.stdout.readline().strip()) for _ in range(acknowledged)]
        writer.kill()
    store = ArtefactStore(folder)
    found = list(store.digests())
    assert set(stored) <= set(found)
    for digest in found:
        assert len(store.get(digest)) == 800_000
    assert not list(folder.glob(".part-*"))


def test_opening_a_store_removes_what_a_crash_left_half_written(tmp_path: Path) -> None:
    ArtefactStore(tmp_path)
    leftover = tmp_path / ".part-0123456789abcdef"
    leftover.write_bytes(b"half")
    ArtefactStore(tmp_path)
    assert not leftover.exists()


def test_opening_a_store_does_not_disturb_those_who_write(tmp_path: Path) -> None:
    store, stop = ArtefactStore(tmp_path), threading.Event()

    def open_again_and_again() -> None:
        while not stop.is_set():
            ArtefactStore(tmp_path)

    opener = threading.Thread(target=open_again_and_again)
    opener.start()
    try:
        written = [store.put(os.urandom(50_000)) for _ in range(40)]
    finally:
        stop.set()
        opener.join()
    assert sorted(written) == list(store.digests())


def test_collecting_keeps_what_is_named_and_frees_the_rest(store: ArtefactStore) -> None:
    kept, dropped = store.put(b"keep"), store.put(b"drop it")
    assert store.collect({kept}, min_age_s=0) == (1, 7)
    assert store.has(kept)
    assert not store.has(dropped)


def test_collecting_leaves_what_was_just_stored(store: ArtefactStore) -> None:
    fresh = store.put(b"not in the ledger yet")
    assert store.collect(set()) == (0, 0)
    assert store.has(fresh)


def test_an_old_artefact_that_was_stored_again_counts_as_new(
    store: ArtefactStore, tmp_path: Path
) -> None:
    digest = store.put(b"again")
    os.utime(file_of(tmp_path, digest), (0, 0))
    store.put(b"again")
    assert store.collect(set()) == (0, 0)


def test_a_deleted_artefact_is_gone_and_deleting_it_again_is_no_error(store: ArtefactStore) -> None:
    digest = store.put(b"x")
    store.delete(digest)
    store.delete(digest)
    assert not store.has(digest)


def test_an_error_names_the_artefact_to_fetch_again_and_heal_takes_only_that(
    tmp_path: Path,
) -> None:
    store = ArtefactStore(tmp_path)
    digest = store.put(b"whole")
    path = tmp_path / digest[:2] / digest
    path.write_bytes(b"whale")
    assert store.has(digest) and not store.intact(digest)
    with pytest.raises(ArtefactError) as damaged:
        store.get(digest)
    with pytest.raises(ArtefactError) as missing:
        store.get(digest)
    assert (damaged.value.code, missing.value.code) == ("corrupt-artefact", "missing-artefact")
    assert damaged.value.digest == missing.value.digest == digest
    with pytest.raises(ArtefactError, match="is not it"):
        store.heal(digest, b"whale")
    assert not store.intact(digest)
    store.heal(digest, b"whole")
    assert store.get(digest) == b"whole" and store.intact(digest)
    path.write_bytes(b"whale")
    store.heal(digest, b"whole")  # what is there has the length, but not the bytes
    assert store.get(digest) == b"whole"


def test_a_store_that_was_deleted_is_a_sentence(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path / "artefacts")
    (tmp_path / "artefacts").rmdir()
    with pytest.raises(ArtefactError, match="artefacts cannot be") as gone:
        store.put(b"something")
    assert gone.value.code == "disk-error"
