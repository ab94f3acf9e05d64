"""Claims about a watched folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nodes.errors import NodeError
from nodes.machine.clock import ManualClock
from nodes.text.documents import Budgets
from nodes.text.replay_buffer import ReplayBuffer
from nodes.text.watched_folder import Arrivals, Limits, Scan

REST_MS = 5000


@dataclass
class Watched:
    """A device with a watched folder; its clock stands long after every change, unless moved."""

    root: Path
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.folder, self.state = self.root / "inbox", self.root / "state"
        self.folder.mkdir()
        self.state.mkdir()
        self.clock = ManualClock(0)
        self.open()

    def open(self) -> None:
        self.buffer = ReplayBuffer(self.state, Budgets())
        self.arrivals = Arrivals(
            self.folder, self.buffer, self.state, self.clock, limits=self.limits
        )

    def close(self) -> None:
        self.arrivals.close()
        self.buffer.close()

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, "utf-8")
        return path

    def scan(self, after_ms: int = REST_MS) -> Scan:
        """Scan ``after_ms`` after the last change."""
        changed = [path.lstat() for path in self.folder.rglob("*")]
        last = max((max(s.st_ctime_ns, s.st_mtime_ns) for s in changed), default=0)
        self.clock.set_to(last // 1_000_000 + after_ms)
        return self.arrivals.scan()

    def codes(self, scan: Scan) -> dict[str, str]:
        return {refusal.path: refusal.code for refusal in scan.refused}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    device = Watched(tmp_path)
    try:
        yield device
    finally:
        device.close()


def lines(name: str, count: int) -> str:
    return "".join(f"{name} document {i}\n" for i in range(count))


def test_documents_of_every_form_are_taken_in_once(watched: Watched) -> None:
    watched.write("a.txt", lines("a", 3))
    watched.write("b.md", "# Title\n\nOne.\n\nTwo.\n")
    watched.write("c.jsonl", '{"text": "three"}\n')
    watched.write("D.CSV", "id,text\n1,four\n")
    scan = watched.scan()
    assert scan.read == ("D.CSV", "a.txt", "b.md", "c.jsonl")
    assert (scan.added, scan.known, scan.refused, scan.waiting) == (7, 0, (), ())
    assert watched.scan() == Scan()


def test_folders_name_sources(watched: Watched) -> None:
    watched.write("top.txt", lines("top", 40))
    watched.write("eye/a.txt", lines("eye", 40))
    (watched.folder / "eye" / "deeper").mkdir()
    watched.write("eye/deeper/b.txt", lines("deeper", 40))
    watched.scan()
    offered = {
        source: sum(
            sizes[source].offered_documents
            for sizes in watched.buffer.sizes().values()
            if source in sizes
        )
        for source in ("own", "eye")
    }
    assert offered == {"own": 40, "eye": 80}


def test_a_file_that_grows_moves_or_is_copied_brings_only_what_is_new(watched: Watched) -> None:
    path = watched.write("a.txt", lines("a", 10))
    assert watched.scan().added == 10
    with path.open("a", encoding="utf-8") as file:
        file.write(lines("more", 5))
    scan = watched.scan()
    assert (scan.added, scan.known) == (5, 10)
    path.rename(path.with_name("moved.txt"))
    watched.write("copy.txt", lines("a", 10))
    scan = watched.scan()
    assert (scan.added, scan.known) == (0, 25)


def test_after_a_restart_nothing_is_new_and_no_file_is_read_again(watched: Watched) -> None:
    watched.write("a.txt", lines("a", 10))
    watched.write("bad.jsonl", "no json\n")
    watched.scan()
    watched.close()
    watched.open()
    assert watched.scan() == Scan()


def test_what_was_taken_in_before_a_crash_is_known_after_it(watched: Watched) -> None:
    watched.write("a.txt", lines("a", 10))
    watched.scan()
    watched.close()
    for path in watched.state.glob("arrivals.sqlite*"):
        path.unlink()  # as if the machine had stopped before it was written
    watched.open()
    scan = watched.scan()
    assert (scan.read, scan.added, scan.known) == (("a.txt",), 0, 10)


@pytest.mark.parametrize("name", ["a.md", "a.csv", "cut.txt"])
def test_a_file_that_may_still_be_written_is_left_until_it_rests(
    watched: Watched, name: str
) -> None:
    watched.write(name, "text\none\ntw")
    scan = watched.scan(after_ms=REST_MS - 1)
    assert (scan.read, scan.waiting) == ((), (name,))
    assert watched.scan().read == (name,)


def test_whole_lines_need_no_rest(watched: Watched) -> None:
    watched.write("a.txt", "one\ntwo\n")
    assert watched.scan(after_ms=0).added == 2


def test_a_file_of_the_future_does_not_wait_for_ever(watched: Watched) -> None:
    watched.write("a.md", "text")
    assert watched.scan(after_ms=-3_600_000).added == 1


def test_a_bad_file_is_reported_once_and_the_rest_goes_on(watched: Watched) -> None:
    bad = watched.write("bad.jsonl", '{"text": "one"}\nno json\n')
    watched.write("good.txt", "two\n")
    watched.write("letter.docx", "three")
    scan = watched.scan()
    assert watched.codes(scan) == {"bad.jsonl": "bad-text", "letter.docx": "unknown-ending"}
    assert (scan.read, scan.added) == (("good.txt",), 1)
    assert "line 2" in scan.refused[1].sentence
    assert watched.scan() == Scan()
    bad.write_text("still none\n")
    assert watched.codes(watched.scan()) == {"bad.jsonl": "bad-text"}
    bad.write_text('{"text": "one"}\n')
    assert watched.scan().added == 1


def test_nothing_outside_of_the_folder_is_read(watched: Watched) -> None:
    outside = watched.root / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret\n")
    (watched.folder / "link.txt").symlink_to(outside / "secret.txt")
    (watched.folder / "links").symlink_to(outside)
    os.mkfifo(watched.folder / "pipe.txt")
    watched.write(".hidden.txt", "hidden\n")
    scan = watched.scan()
    assert watched.codes(scan) == {"link.txt": "link", "links": "link", "pipe.txt": "not-a-file"}
    assert (scan.added, watched.buffer.sizes()) == (0, {})


def test_a_file_that_may_not_be_read_is_reported(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.write("a.txt", "one\n")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("nodes.text.watched_folder.os.open", refuse)
        assert watched.codes(watched.scan()) == {"a.txt": "unreadable"}


def test_large_files_and_large_folders_are_bounded(tmp_path: Path) -> None:
    device = Watched(tmp_path, Limits(file_bytes=100, scan_bytes=150, files=4))
    try:
        for name in ("a", "b", "c"):
            device.write(f"{name}.txt", f"{name}\n" * 40)
        device.write("d.txt", "d" * 101)
        scan = device.scan()
        assert (scan.read, scan.waiting) == (("a.txt",), ("b.txt", "c.txt"))
        assert device.codes(scan) == {"d.txt": "file-too-large"}
        assert device.scan().read == ("b.txt",)
        device.write("e.txt", "e\n")
        assert device.codes(device.scan()) == {"": "too-many-files"}
    finally:
        device.close()


def test_files_are_never_changed(watched: Watched) -> None:
    path = watched.write("a.txt", lines("a", 10))
    before = path.read_bytes(), path.stat().st_mtime_ns
    watched.scan()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_name_that_is_not_utf8_does_no_harm(watched: Watched) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        (watched.folder / name).write_text("one\n")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert watched.scan().added == 1
    assert watched.scan() == Scan()


def test_the_state_folder_is_never_text(tmp_path: Path) -> None:
    device = Watched(tmp_path)
    try:
        with pytest.raises(NodeError, match="bad-config"):
            Arrivals(device.state, device.buffer, device.state, ManualClock())
        around = Arrivals(tmp_path, device.buffer, device.state, ManualClock(0))
        (device.state / "notes.txt").write_text("private\n")
        assert around.scan() == Scan()
        around.close()
    finally:
        device.close()


def test_a_folder_that_is_gone_is_an_error(watched: Watched) -> None:
    watched.folder.rmdir()
    with pytest.raises(NodeError, match="no-watch-folder"):
        watched.arrivals.scan()
