"""Swarms on loopback: who gets what, from whom, and what is left of an attempt that failed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nodes.errors import NodeError
from nodes.peers.swarm import engine
from nodes.peers.swarm.session import MIN_BYTES, Swarm, is_worth_it
from nodes.trust.tls import link_authority, make_tls
from tests.nodes.peers.swarm.members import (
    DAY,
    NOW,
    Artefact,
    Circle,
    circle,
    link,
    needs_libtorrent,
    pem_of,
)

pytestmark = [needs_libtorrent, pytest.mark.slow]


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Circle]:
    with circle(tmp_path / "circle") as made:
        yield made


@pytest.fixture
def artefact(tmp_path: Path) -> Artefact:
    return Artefact.made(tmp_path / "given" / "abcdef", 2_000_000)


def got(swarm: Swarm, artefact: Artefact) -> int:
    return swarm.traffic(artefact.torrent).got_data


def test_a_member_gets_an_artefact_and_gives_it_to_the_next(
    members: Circle, artefact: Artefact, tmp_path: Path
) -> None:
    parents = make_tls(members.folder / "tls")
    pair = parents.certificate.read_bytes(), parents.key.read_bytes()
    origin, first, second = members.member(pair=pair), members.member(), members.member()
    origin.share(artefact.path, artefact.torrent)
    told: list[tuple[int, int]] = []
    first.fetch(
        artefact.torrent,
        tmp_path / "first" / "there",
        artefact.digest,
        [members.at(origin)],
        lambda done, total: told.append((done, total)),
    )
    assert (tmp_path / "first" / "there").read_bytes() == artefact.data
    assert told[-1] == (2_000_000, 2_000_000)
    sent = origin.traffic(artefact.torrent).sent_data

    origin.close()
    second.fetch(artefact.torrent, tmp_path / "second", artefact.digest, [members.at(first)])
    assert (tmp_path / "second").read_bytes() == artefact.data
    assert first.traffic(artefact.torrent).sent_data >= sent >= 2_000_000

    for swarm, place in ((first, tmp_path / "first" / "there"), (second, tmp_path / "second")):
        swarm.unshare(artefact.torrent)
        assert place.read_bytes() == artefact.data
        assert place.stat().st_nlink == 1  # nothing is left in the folder of the swarm


def test_five_members_help_each_other(members: Circle, artefact: Artefact, tmp_path: Path) -> None:
    origin, *rest = (members.member(upload_limit=1_000_000) for _ in range(6))
    origin.share(artefact.path, artefact.torrent)
    everybody = [members.at(swarm) for swarm in members.swarms]

    def fetch(swarm: Swarm) -> None:
        peers = [peer for peer in everybody if peer != members.at(swarm)]
        swarm.fetch(artefact.torrent, tmp_path / str(swarm.port), artefact.digest, peers)

    with ThreadPoolExecutor(len(rest)) as pool:
        list(pool.map(fetch, rest))
    assert all((tmp_path / str(s.port)).read_bytes() == artefact.data for s in rest)
    assert origin.traffic(artefact.torrent).sent_data < 4 * 2_000_000
    assert sum(swarm.traffic(artefact.torrent).sent_data for swarm in rest) > 2_000_000


def test_who_sends_wrong_bytes_is_named_and_changes_nothing(
    members: Circle, artefact: Artefact, tmp_path: Path
) -> None:
    origin, member = members.member(upload_limit=1_000_000), members.member()
    liar = members.liar(artefact, tmp_path / "liar")
    origin.share(artefact.path, artefact.torrent, origin=False)
    member.fetch(artefact.torrent, tmp_path / "there", artefact.digest, [members.at(origin), liar])
    assert (tmp_path / "there").read_bytes() == artefact.data
    assert set(member.banned()) == {liar}
    assert 0 < member.traffic(artefact.torrent).wrong < 2_000_000
    member.forget_banned()
    assert member.banned() == ()


def test_nothing_comes_of_one_that_only_sends_wrong_bytes(
    members: Circle, artefact: Artefact, tmp_path: Path
) -> None:
    member = members.member()
    liar = members.liar(artefact, tmp_path / "liar")
    with pytest.raises(NodeError) as stalled:
        member.fetch(artefact.torrent, tmp_path / "x", artefact.digest, [liar], stalled_s=3)
    assert stalled.value.code == "swarm-stalled"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("who", ["nobody", "another circle's", "lapsed"])
def test_who_is_not_in_the_circle_gets_nothing(
    members: Circle, artefact: Artefact, tmp_path: Path, who: str
) -> None:
    origin, member = members.member(), members.member()
    origin.share(artefact.path, artefact.torrent, origin=False)
    other = link_authority(tmp_path / "other", None, NOW)
    pairs = {
        "nobody": None,
        "another circle's": link(other),
        "lapsed": link(members.authority, NOW - DAY, NOW - 2 * DAY),
    }
    stranger = members.stranger(artefact.torrent, tmp_path / "stranger", pairs[who])
    for _ in range(5):
        stranger.connect_peer(members.at(origin), 0, 0)
        time.sleep(0.3)
    # Meanwhile a member gets it from the same origin.
    member.fetch(artefact.torrent, tmp_path / "there", artefact.digest, [members.at(origin)])
    assert stranger.status().total_payload_download == 0
    assert origin.traffic(artefact.torrent).sent_data < 2 * 2_000_000


def test_a_stalled_fetch_says_so_and_goes_on_where_it_stopped(
    members: Circle, tmp_path: Path
) -> None:
    artefact = Artefact.made(tmp_path / "given", 3_000_000)
    origin, member = members.member(upload_limit=800_000), members.member()
    origin.share(artefact.path, artefact.torrent, origin=False)

    def cut(done: int, _total: int) -> None:
        if done > 1_000_000:
            origin.close()

    into = tmp_path / "there"
    with pytest.raises(NodeError) as stalled:
        member.fetch(
            artefact.torrent, into, artefact.digest, [members.at(origin)], cut, stalled_s=2
        )
    assert stalled.value.code == "swarm-stalled"
    assert not into.exists()

    again = members.member()
    again.share(artefact.path, artefact.torrent, origin=False)
    member.fetch(artefact.torrent, into, artefact.digest, [members.at(again)])
    assert into.read_bytes() == artefact.data
    assert got(member, artefact) < 2_000_000


def test_where_there_are_no_hard_links_it_is_moved_and_given_all_the_same(
    members: Circle, artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    origin, first, second = (members.member() for _ in range(3))
    origin.share(artefact.path, artefact.torrent, origin=False)
    first.fetch(artefact.torrent, tmp_path / "1", artefact.digest, [members.at(origin)])
    assert not list((members.folder / "member-127.0.0.2").iterdir())
    origin.close()
    second.fetch(artefact.torrent, tmp_path / "2", artefact.digest, [members.at(first)])
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes() == artefact.data


def test_a_swarm_forgets_under_which_name_something_arrived_that_is_in_its_place(
    members: Circle, tmp_path: Path
) -> None:
    folder = tmp_path / "arriving"
    folder.mkdir()
    for name in ("done", "half"):
        (folder / f"{name}.part").write_bytes(b"x")
    os.link(folder / "done.part", tmp_path / "there")
    members.member(folder=folder)
    assert [path.name for path in folder.iterdir()] == ["half.part"]


def test_a_fetch_is_stopped(members: Circle, artefact: Artefact, tmp_path: Path) -> None:
    member, stop = members.member(), threading.Event()
    stop.set()
    with pytest.raises(NodeError) as stopped:
        member.fetch(artefact.torrent, tmp_path / "x", artefact.digest, stop=stop)
    assert stopped.value.code == "stopped"


def test_what_has_another_digest_is_deleted(
    members: Circle, artefact: Artefact, tmp_path: Path
) -> None:
    origin, member = members.member(), members.member()
    origin.share(artefact.path, artefact.torrent, origin=False)
    with pytest.raises(NodeError) as wrong:
        member.fetch(artefact.torrent, tmp_path / "x", "00" * 32, [members.at(origin)])
    assert wrong.value.code == "wrong-artefact"
    assert not (tmp_path / "x").exists()
    assert not list((members.folder / "member-127.0.0.2").iterdir())


def test_a_damaged_file_is_not_given_and_not_overwritten(
    members: Circle, artefact: Artefact, tmp_path: Path
) -> None:
    healthy, damaged, member = (members.member() for _ in range(3))
    healthy.share(artefact.path, artefact.torrent, origin=False)
    broken = bytes(len(artefact.data))
    (tmp_path / "broken").write_bytes(broken)
    damaged.share(tmp_path / "broken", artefact.torrent, origin=False)
    peers = [members.at(damaged), members.at(healthy)]
    member.fetch(artefact.torrent, tmp_path / "there", artefact.digest, peers)
    assert member.banned() == ()
    assert (tmp_path / "broken").read_bytes() == broken
    assert damaged.traffic(artefact.torrent).sent_data == 0


def test_a_renewed_certificate_is_used(members: Circle, artefact: Artefact, tmp_path: Path) -> None:
    lapsed = link(members.authority, NOW - DAY, NOW - 2 * DAY)
    origin, member = members.member(), members.member(pair=lapsed)
    origin.share(artefact.path, artefact.torrent, origin=False)
    peers = [members.at(origin)]
    with pytest.raises(NodeError, match="swarm-stalled"):
        member.fetch(artefact.torrent, tmp_path / "x", artefact.digest, peers, stalled_s=2)
    with pytest.raises(NodeError, match="swarm-certificate"):
        member.renew(*link(link_authority(tmp_path / "other", None, NOW)))
    member.renew(*link(members.authority))
    member.fetch(artefact.torrent, tmp_path / "x", artefact.digest, peers)
    assert (tmp_path / "x").read_bytes() == artefact.data


def test_of_several_authorities_the_one_that_signed_counts(members: Circle, tmp_path: Path) -> None:
    other = pem_of(link_authority(tmp_path / "other", None, NOW))
    pem, key = link(members.authority)
    both = other + pem_of(members.authority)
    assert engine.authority_of(both, pem, key) == pem_of(members.authority).decode()
    for ca, certificate, private in ((other, pem, key), (b"", pem, key), (both, pem, b"x")):
        with pytest.raises(NodeError, match="swarm-certificate"):
            engine.authority_of(ca, certificate, private)


def test_a_port_that_is_taken_is_an_error(members: Circle) -> None:
    taken = members.member()
    with pytest.raises(NodeError, match="swarm-port"):
        Swarm(
            members.folder / "x",
            pem_of(members.authority),
            *link(members.authority),
            "127.0.0.1",
            taken.port,
        )


def test_a_file_of_another_length_is_not_shared(
    members: Circle, artefact: Artefact, tmp_path: Path
) -> None:
    (tmp_path / "short").write_bytes(b"short")
    for path in (tmp_path / "short", tmp_path / "nowhere"):
        with pytest.raises(NodeError, match="not-here"):
            members.member().share(path, artefact.torrent)


def test_without_the_extra_a_swarm_says_what_to_install(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['libtorrent'] = None\n"
        "from pathlib import Path\n"
        "from nodes.errors import NodeError\n"
        "from nodes.peers.swarm.session import Swarm\n"
        "try: Swarm(Path('x'), b'', b'', b'', '127.0.0.1', 0)\n"
        "except NodeError as error: print(Swarm.available(), error.code, error.sentence)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("False no-swarm") and "banyan-fl[swarm]" in ran.stdout


def test_a_swarm_is_for_large_artefacts_and_many() -> None:
    assert is_worth_it(MIN_BYTES, 4)
    assert not is_worth_it(MIN_BYTES - 1, 4) and not is_worth_it(MIN_BYTES, 3)
