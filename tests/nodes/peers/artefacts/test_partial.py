"""A file that arrives in parts: in any order, from anybody, through every kill."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nodes.peers.artefacts.partial as partial
from nodes.errors import NodeError
from nodes.peers.artefacts.partial import PART, PartialFile
from protocol import digest_of
from tests.nodes.peers.artefacts.sources import name_of

A, B = name_of("a"), name_of("b")
DATA = random.Random(0).randbytes(2 * PART + 12345)
DIGEST = digest_of(DATA)


def part_of(data: bytes, part: int, size: int = PART) -> bytes:
    return data[part * size : (part + 1) * size]


def drop(file: PartialFile) -> None:
    """What the kernel does with the files of a process that is killed: nothing is written."""
    file.close()


@settings(deadline=None, max_examples=60)
@given(
    length=st.integers(0, 5000),
    seed=st.integers(0, 2**32),
    kills=st.lists(st.integers(0, 60), max_size=4),
)
def test_parts_in_any_order_with_kills_between_make_the_whole(
    length: int, seed: int, kills: list[int]
) -> None:
    randomness = random.Random(seed)
    data = randomness.randbytes(length)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial, "PART", 100)
        path = Path(folder) / "in" / "whole"
        file = PartialFile(path, digest_of(data), length)
        order = list(range(file.count))
        randomness.shuffle(order)
        put: set[int] = set()
        for count, part in enumerate(order):
            if count in kills:
                drop(file)
                file = PartialFile(path, digest_of(data), length)
                assert set(range(file.count)) - set(file.missing) == put
            assert not (file.missing and file.finish())
            assert file.put(part, part_of(data, part, 100), A)
            assert not file.put(part, part_of(data, part, 100), B)
            put.add(part)
            assert file.here == sum(file.size(part) for part in put)
        assert file.finish()
        assert file.suspects() == set()
        file.close()
        assert path.read_bytes() == data
        assert [found.name for found in path.parent.iterdir()] == ["whole"]


@settings(deadline=None, max_examples=60)
@given(
    damage=st.sampled_from(["bytes", "cut bytes", "records", "cut records", "no bytes", "longer"]),
    where=st.integers(0, 10_000),
)
def test_only_parts_whose_bytes_are_on_disk_count(damage: str, where: int) -> None:
    data = random.Random(1).randbytes(1000)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial, "PART", 100)
        path = Path(folder) / "whole"
        file = PartialFile(path, digest_of(data), 1000)
        for part in range(0, 10, 2):
            file.put(part, part_of(data, part, 100), A)
        drop(file)
        damaged = path.with_name(".whole.parts" if "records" in damage else ".whole.part")
        content = bytearray(damaged.read_bytes())
        if damage.startswith("cut"):
            del content[where % len(content) :]
        elif damage == "no bytes":
            content.clear()
        elif damage == "longer":
            content += bytes(where)
        else:
            content[where % len(content)] ^= 0xFF
        damaged.write_bytes(content)
        file = PartialFile(path, digest_of(data), 1000)
        for part in set(range(10)) - set(file.missing):
            assert part_of(file._data.read_bytes(), part, 100) == part_of(data, part, 100)
        for part in file.missing:
            file.put(part, part_of(data, part, 100), B)
        assert file.finish()
        assert path.read_bytes() == data
        file.close()


def test_a_part_has_its_length_and_its_place(tmp_path: Path) -> None:
    file = PartialFile(tmp_path / "whole", DIGEST, len(DATA))
    for part, data in ((0, DATA[:10]), (2, DATA[:PART]), (3, b""), (-1, DATA[:PART])):
        with pytest.raises(ValueError, match="does not have"):
            file.put(part, data, A)
    file.close()
    assert not file.put(0, DATA[:PART], A)  # a thread that was left behind writes nowhere


def test_one_at_a_time_writes_a_file(tmp_path: Path) -> None:
    file = PartialFile(tmp_path / "whole", DIGEST, len(DATA))
    with pytest.raises(NodeError, match="busy"):
        PartialFile(tmp_path / "whole", DIGEST, len(DATA))
    file.close()
    PartialFile(tmp_path / "whole", DIGEST, len(DATA)).close()


def test_what_is_here_of_another_artefact_does_not_count(tmp_path: Path) -> None:
    file = PartialFile(tmp_path / "whole", DIGEST, len(DATA))
    file.put(0, part_of(DATA, 0), A)
    file.close()
    for digest, length in ((digest_of(b"x"), len(DATA)), (DIGEST, len(DATA) + 1)):
        other = PartialFile(tmp_path / "whole", digest, length)
        assert other.here == 0
        other.close()


def test_a_wrong_whole_is_not_put_in_its_place_and_who_gave_what_is_remembered(
    tmp_path: Path,
) -> None:
    file = PartialFile(tmp_path / "whole", DIGEST, len(DATA))
    wrong = bytes(PART)
    file.put(0, part_of(DATA, 0), A)
    file.put(1, wrong, B)
    file.put(2, part_of(DATA, 2), A)
    assert not file.finish()
    assert file.givers == {A: 2, B: 1}
    file.keep_only(A)
    drop(file)  # also through a kill
    file = PartialFile(tmp_path / "whole", DIGEST, len(DATA))
    assert file.missing == [1]
    file.put(1, part_of(DATA, 1), A)
    assert file.finish()
    assert file.suspects() == {B}
    file.close()
    assert (tmp_path / "whole").read_bytes() == DATA


def test_no_file_is_begun_that_has_no_room(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="no-room"):
        PartialFile(tmp_path / "whole", DIGEST, 1 << 60)


WRITER = """
import sys
from pathlib import Path
from nodes.peers.artefacts.partial import PART, PartialFile
from protocol import digest_of
data = Path(sys.argv[1]).read_bytes()
file = PartialFile(Path(sys.argv[2]), digest_of(data), len(data))
for part in file.missing:
    file.put(part, data[part * PART : (part + 1) * PART], digest_of(b"a"))
    print(part, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_kill_9_loses_no_part_that_was_here(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "data"), str(tmp_path / "whole")]
    for expected in (0, 1):
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert int(process.stdout.readline()) == expected
        process.kill()
        process.communicate()
    file = PartialFile(tmp_path / "whole", DIGEST, len(DATA))
    assert file.missing == [2]
    file.close()
