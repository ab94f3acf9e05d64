"""A base comes from whoever has it, and is the network's or none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.errors import NodeError
from nodes.model.digest import describe_base
from nodes.peers.artefacts.base import fetch_base, is_whole
from nodes.peers.artefacts.manifest import Manifest
from nodes.peers.wire.errors import PeerError
from nodes.state.home import Home
from protocol import Digest, digest_of
from tests.nodes.network import make_root, peer
from tests.nodes.peers.artefacts.sources import Fetching, Garbage, MemorySource


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Home]:
    root = peer(make_root(tmp_path_factory.mktemp("root") / "root", base))
    yield root.home
    root.close()


@pytest.fixture
def files(base: Path) -> dict[Digest, bytes]:
    manifest = Manifest.of_folder(base)
    data = {file.sha256: (base / file.name).read_bytes() for file in manifest.files}
    return data | {manifest.digest: manifest.encode()}


@pytest.fixture
def listed(base: Path) -> Digest:
    return Manifest.of_folder(base).digest


def test_a_base_is_fetched_whole_and_once(
    home: Home, base: Path, files: dict[Digest, bytes], listed: Digest, tmp_path: Path
) -> None:
    origin = MemorySource("origin", files, is_origin=True)
    fetching = Fetching(tmp_path, [origin, MemorySource("a", files), Garbage("bad", files)])
    target, steps = tmp_path / "got", list[tuple[int, int]]()
    for _ in range(2):
        fetch_base(
            fetching.fetcher,
            listed,
            target,
            home.network,
            stop=threading.Event(),
            on_progress=lambda done, total: steps.append((done, total)),
        )
    assert is_whole(target, home.network)
    assert describe_base(target).digest == describe_base(base).digest
    assert steps[-1][0] == steps[-1][1] > 0
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert set(origin.announced) == {*files}
    assert {path.name for path in target.iterdir()} <= {
        *(file.name for file in Manifest.of_folder(target).files),
        ".banyan-digest.json",
    }
    for source in fetching.sources:
        source.reads.clear()
    fetch_base(fetching.fetcher, listed, target, home.network, stop=threading.Event())
    assert not any(source.reads for source in fetching.sources)


class Cut(MemorySource):
    """Goes down after some files."""

    left: int = 3

    def bytes_of(self, digest: Digest, offset: int, length: int) -> bytes:
        if self.left == 0:
            raise PeerError("link-down", "cut")
        self.left -= 1
        return super().bytes_of(digest, offset, length)


def test_an_interrupted_transfer_goes_on_where_it_stopped(
    home: Home, files: dict[Digest, bytes], listed: Digest, tmp_path: Path
) -> None:
    fetching = Fetching(tmp_path, [Cut("a", files)])
    target = tmp_path / "got"
    with pytest.raises(NodeError):
        fetch_base(fetching.fetcher, listed, target, home.network, stop=threading.Event())
    assert not target.exists()
    fetching.sources = [MemorySource("b", files)]
    fetch_base(fetching.fetcher, listed, target, home.network, stop=threading.Event())
    assert is_whole(target, home.network)
    total = sum(map(len, files.values()))
    assert sum(fetching.taken.values()) == total + len(files[listed])  # the list twice


@pytest.mark.parametrize("what", ["another base", "a path", "twice", "no list"])
def test_a_list_that_lies_leaves_no_base(
    home: Home, files: dict[Digest, bytes], listed: Digest, tmp_path: Path, what: str
) -> None:
    entries = json.loads(files[listed])
    if what == "a path":
        entries[0]["name"] = "../evil.json"
    elif what == "twice":
        entries.append(entries[0] | {"name": entries[0]["name"].replace("m", "M", 1)})
    elif what == "another base":
        for entry in entries:
            data = bytes(entry["length"])
            entry["sha256"] = digest_of(data)
            files[digest_of(data)] = data
    else:
        entries = 3
    lie = json.dumps(entries).encode()
    files[digest_of(lie)] = lie
    target = tmp_path / "in" / "got"
    (tmp_path / "in").mkdir()
    fetching = Fetching(tmp_path, [MemorySource("a", files)])
    with pytest.raises(NodeError) as refused:
        fetch_base(fetching.fetcher, digest_of(lie), target, home.network, stop=threading.Event())
    assert refused.value.code == ("wrong-base" if what == "another base" else "bad-manifest")
    assert not target.exists()
    assert not (tmp_path / "in" / "evil.json").exists()


def test_what_is_there_and_is_no_base_is_set_aside(
    home: Home, files: dict[Digest, bytes], listed: Digest, tmp_path: Path
) -> None:
    target = tmp_path / "got"
    fetching = Fetching(tmp_path, [MemorySource("a", files)])
    for number in range(2):
        if target.exists():
            (target / "config.json").write_text("{}")
        else:
            target.mkdir()
        (target / "mine.txt").write_text(str(number))
        fetch_base(fetching.fetcher, listed, target, home.network, stop=threading.Event())
        assert is_whole(target, home.network)
        assert (tmp_path / "got.old" / "mine.txt").read_text() == str(number)
