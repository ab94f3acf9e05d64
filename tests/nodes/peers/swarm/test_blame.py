"""Who is blamed for a wrong piece, and for how long."""

from __future__ import annotations

from nodes.peers.swarm.blame import SHUT_OUT_S, TOLERATED, Blame

MEMBER, NEIGHBOUR, OTHER = ("10.0.0.1", 7000), ("10.0.0.1", 7001), ("10.0.0.2", 7000)
NAMES = {MEMBER: ("one.test", 7000), OTHER: ("two.test", 7000)}


def blame() -> Blame:
    return Blame(dialled={**NAMES})


def test_who_sent_a_wrong_piece_alone_is_named_and_shut_out() -> None:
    book = blame()
    book.connected(MEMBER, outgoing=True)
    assert book.wrong_piece({book.sender(MEMBER)}, now=0)
    assert book.named == [("one.test", 7000)]
    assert book.shut_out == ("10.0.0.1",)
    assert not book.let_in(SHUT_OUT_S - 1)
    assert book.let_in(SHUT_OUT_S) and not book.shut_out


def test_of_two_senders_nobody_is_blamed() -> None:
    book = blame()
    for endpoint in (MEMBER, OTHER):
        book.connected(endpoint, outgoing=True)
    assert not book.wrong_piece({book.sender(MEMBER), book.sender(OTHER)}, now=0)
    assert not book.wrong_piece(set(), now=0)
    assert not book.named and not book.shut_out


def test_who_dialled_in_is_shut_out_but_not_named() -> None:
    book, stranger = blame(), ("10.0.0.9", 40000)
    book.connected(stranger, outgoing=False)
    assert book.wrong_piece({book.sender(stranger)}, now=0)
    assert book.named == [] and book.shut_out == ("10.0.0.9",)


def test_a_member_stays_known_after_its_connection() -> None:
    book = blame()
    book.connected(MEMBER, outgoing=True)
    book.disconnected(MEMBER)
    book.connected(OTHER, outgoing=False)
    assert book.wrong_piece({book.sender(MEMBER)}, now=0)
    assert book.named == [("one.test", 7000)]


def test_nobody_can_dial_in_under_the_address_of_a_neighbour() -> None:
    """libtorrent calls a peer that dialled in by the port that it says is its own."""
    book = blame()
    book.connected(MEMBER, outgoing=True)
    book.disconnected(MEMBER)
    book.connected((MEMBER[0], 40000), outgoing=False)
    assert book.wrong_piece({book.sender(MEMBER)}, now=0)
    assert book.named == []


def test_an_address_of_several_members_is_shut_out_late() -> None:
    book = blame()
    book.dialled[NEIGHBOUR] = NEIGHBOUR
    book.connected(MEMBER, outgoing=True)
    shut_out = [book.wrong_piece({book.sender(MEMBER)}, now=0) for _ in range(TOLERATED + 1)]
    assert shut_out == [False] * (TOLERATED - 1) + [True, False]
