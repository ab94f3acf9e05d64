"""Torrents follow from content alone, are libtorrent's own, and only exact ones are accepted."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

import pytest

from nodes.errors import NodeError
from nodes.peers.swarm import description as module
from nodes.peers.swarm.description import (
    LEAST_PIECE,
    MOST_PIECES,
    Description,
    describe,
    piece_length,
)
from tests.nodes.peers.swarm.members import needs_libtorrent

LENGTHS = (1, 16384, 16385, LEAST_PIECE, LEAST_PIECE + 1, 3 * LEAST_PIECE, 1_000_000)


def file(folder: Path, length: int, name: str = "x", seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(random.Random(seed).randbytes(length))
    return path


@needs_libtorrent
@pytest.mark.parametrize("length", LENGTHS)
def test_a_torrent_is_the_one_that_libtorrent_makes(
    tmp_path: Path, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lt: Any = importlib.import_module("libtorrent")
    monkeypatch.setattr(module, "MOST_PIECES", 8)  # larger pieces, too
    path = file(tmp_path, length, module.NAME)
    made = lt.create_torrent(
        [lt.create_file_entry(module.NAME, length)],
        piece_length(length),
        lt.create_torrent.v2_only,
    )
    lt.set_piece_hashes(made, str(tmp_path))
    reference, ours = made.generate(), lt.bdecode(describe(path))
    assert ours[b"info"] == reference[b"info"]
    assert ours[b"piece layers"] == reference[b"piece layers"]


def test_a_torrent_follows_from_content_alone(tmp_path: Path) -> None:
    here = describe(file(tmp_path / "here", 200_000, "one"))
    assert here == describe(file(tmp_path / "there", 200_000, "two"))
    assert here != describe(file(tmp_path / "there", 200_000, "two", seed=1))


@pytest.mark.parametrize("length", LENGTHS)
def test_what_was_written_is_read(tmp_path: Path, length: int) -> None:
    torrent = describe(file(tmp_path, length))
    assert Description.decode(torrent).encode() == torrent
    assert Description.decode(torrent).length == length


def test_what_differs_in_any_byte_is_refused_or_describes_something_else(tmp_path: Path) -> None:
    torrent = describe(file(tmp_path, 200_000))
    before = Description.decode(torrent)
    for at in range(len(torrent)):
        changed = torrent[:at] + bytes([torrent[at] ^ 1]) + torrent[at + 1 :]
        try:
            read = Description.decode(changed)
        except NodeError as error:
            assert error.code == "bad-torrent"
        else:  # the number of bytes in the last piece: its hash then belongs to no bytes
            assert (read.root, read.layers) == (before.root, before.layers)
            assert read.length != before.length


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"de",
        b"d8:announce20:http://tracker.test/4:infodee",
        b"d4:info" + b"d" * 10_000,
    ],
)
def test_another_torrent_is_refused(other: bytes) -> None:
    with pytest.raises(NodeError, match="bad-torrent"):
        Description.decode(other)


def test_a_torrent_with_more_in_it_is_refused(tmp_path: Path) -> None:
    torrent = describe(file(tmp_path, 200_000))
    for more in (b"8:url-list20:http://elsewhere.te/e", b"5:nodeslee", b"ee"):
        with pytest.raises(NodeError, match="bad-torrent"):
            Description.decode(torrent[:-1] + more)


def test_pieces_grow_with_the_artefact() -> None:
    assert piece_length(100_000_000) == LEAST_PIECE
    assert piece_length(LEAST_PIECE * MOST_PIECES) == LEAST_PIECE
    assert piece_length(LEAST_PIECE * MOST_PIECES + 1) == 2 * LEAST_PIECE
    assert piece_length(1 << 40) == 32 * 1024 * 1024


def test_an_empty_file_has_no_torrent(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="bad-torrent"):
        describe(file(tmp_path, 0))
