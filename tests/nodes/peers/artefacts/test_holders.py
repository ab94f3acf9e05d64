"""A parent's memory of who has what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.machine.randomness import SeededRandomness
from nodes.peers.artefacts.holders import HolderLimits, Holders
from protocol import digest_of
from tests.nodes.peers.artefacts.sources import name_of

MEMBERS = [name_of(word) for word in "abcd"]
DIGESTS = [digest_of(bytes([i])) for i in range(12)]
LIMITS = HolderLimits(each=4, in_all=9, named=2)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(MEMBERS), st.one_of(st.none(), st.lists(st.sampled_from(DIGESTS)))
        )
    )
)
def test_the_memory_is_bounded_and_names_only_who_announced(
    steps: list[tuple[object, list[object] | None]],
) -> None:
    holders = Holders(randomness=SeededRandomness(1), limits=LIMITS)
    announced: dict[object, set[object]] = {member: set() for member in MEMBERS}
    for member, digests in steps:
        if digests is None:
            holders.forget(member)  # type: ignore[arg-type]
            announced[member].clear()
        else:
            holders.announce(member, digests)  # type: ignore[arg-type]
            announced[member].update(digests)
            last = list(dict.fromkeys(reversed(digests)))[: LIMITS.each]
            for digest in last:  # the newest is never what is forgotten
                assert member in holders._holders[digest]  # type: ignore[index]
        assert holders._count == sum(map(len, holders._of_member.values())) <= LIMITS.in_all
        assert all(len(known) <= LIMITS.each for known in holders._of_member.values())
        for digest in DIGESTS:
            named = holders.of(digest, MEMBERS[0])
            assert len(named) == len(set(named)) <= LIMITS.named
            assert MEMBERS[0] not in named
            assert all(digest in announced[node] for node in named)


def test_who_cannot_be_dialled_is_not_named() -> None:
    dialled = set(MEMBERS[:2])
    holders = Holders(lambda node: node in dialled)
    for member in MEMBERS:
        holders.announce(member, DIGESTS)
    assert set(holders.of(DIGESTS[0], name_of("asker"))) == dialled
    dialled.clear()
    assert holders.of(DIGESTS[0], name_of("asker")) == ()
