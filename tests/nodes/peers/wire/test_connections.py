"""A caller with too many connections loses the ones that it used least lately, and only those."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from nodes.peers.wire import connections
from nodes.peers.wire.connections import Connections, Place, hang_up_on, place_of


def pair(family: socket.AddressFamily, host: str) -> tuple[socket.socket, socket.socket]:
    """The two ends of a connection within this process."""
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        listening.listen()
        dialled = socket.create_connection(listening.getsockname()[:2])
        accepted, _ = listening.accept()
    return dialled, accepted


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_hanging_up_ends_one_connection(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
    one, other = pair(family, host), pair(family, host)
    port = one[0].getsockname()[1]
    assert hang_up_on([(host, port), (host, 1)]) == 1
    assert one[0].recv(1) == b""
    other[0].sendall(b"x")
    assert other[1].recv(1) == b"x"
    for end in (*one, *other):
        end.close()


def test_hanging_up_leaves_the_locks_of_a_database_alone(tmp_path: Path) -> None:
    """Closing any descriptor of a file drops them; then who reads beside it deletes its end."""
    path = tmp_path / "ledger.sqlite"
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE events (seq INTEGER)")
    database.commit()
    hang_up_on([("127.0.0.1", 1)])
    reader = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        "c.execute('SELECT * FROM events').fetchall(); c.close()"
    )
    subprocess.run([sys.executable, "-c", reader, str(path)], check=True)
    assert path.with_name("ledger.sqlite-wal").exists()
    database.execute("INSERT INTO events VALUES (1)")
    database.commit()
    assert sqlite3.connect(path).execute("SELECT * FROM events").fetchall() == [(1,)]
    database.close()


def test_the_connections_used_last_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "GATHER_S", 0.0)
    ended: list[Place] = []

    def hang_up(places: Iterable[Place]) -> None:
        ended.extend(places)

    async def calls() -> None:
        known = Connections(2, hang_up=hang_up)
        for port in (1, 2, 1, 3):
            known.seen("noisy", f"ipv4:10.0.0.7:{port}")
        known.seen("quiet", "ipv6:%5B::1%5D:4")
        while not ended:
            await asyncio.sleep(0.01)

    asyncio.run(calls())
    assert ended == [("10.0.0.7", 2)]


@pytest.mark.parametrize(
    ("peer", "place"),
    [
        ("ipv4:10.0.0.7:51234", ("10.0.0.7", 51234)),
        ("ipv6:%5B2001:db8::1%5D:5", ("2001:db8::1", 5)),
        ("ipv6:[::ffff:10.0.0.7]:5", ("10.0.0.7", 5)),
        ("unix:/run/peer", None),
        ("", None),
    ],
)
def test_where_a_connection_comes_from(peer: str, place: Place | None) -> None:
    assert place_of(peer) == place
