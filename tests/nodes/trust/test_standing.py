"""Claims about how a node stands: four ways to be out, each with a code and something to do."""

from __future__ import annotations

import pytest

from nodes.errors import NodeError
from nodes.trust.standing import Standing, standing_of
from protocol import LIMITS, Code, Member, Membership, NodeId
from tests.protocol.world import ALICE, PARENT, ROOT, named

NOW = ALICE.valid_from_ms + 1


@pytest.fixture
def membership() -> Membership:
    made = Membership((ROOT, PARENT))
    made.enrol(Member.of(ALICE, named("certificate")))
    return made


def standing(membership: Membership, now_ms: int = NOW) -> Standing:
    return standing_of(membership, ALICE.node, ALICE, now_ms)


def test_a_member_is_active_until_its_certificate_has_ended(membership: Membership) -> None:
    end = ALICE.valid_until_ms + LIMITS.clock_skew_s * 1000
    assert standing(membership) is Standing.ACTIVE
    assert standing(membership, end) is Standing.ACTIVE
    assert standing(membership, end + 1) is Standing.LAPSED


def test_what_a_person_decided_weighs_more_than_a_date(membership: Membership) -> None:
    late = 2 * ALICE.valid_until_ms
    membership.suspend(ALICE.node)
    assert standing(membership) is standing(membership, late) is Standing.SUSPENDED
    membership.resume(ALICE.node)
    assert standing(membership) is Standing.ACTIVE
    membership.suspend(ALICE.node)
    membership.revoke(ALICE.node)
    assert standing(membership) is standing(membership, late) is Standing.REVOKED


def test_who_was_never_enrolled_is_no_member(membership: Membership) -> None:
    assert standing_of(membership, NodeId("0" * 64), None, NOW) is Standing.NOT_A_MEMBER
    assert standing_of(membership, NodeId("0" * 64), ALICE, NOW) is Standing.NOT_A_MEMBER


def test_each_way_to_be_out_has_a_code_and_a_sentence_of_its_own() -> None:
    out = [one for one in Standing if one is not Standing.ACTIVE]
    assert [one.code for one in out] == [
        Code.CERTIFICATE_EXPIRED,
        Code.SUSPENDED,
        Code.REVOKED,
        Code.NOT_A_MEMBER,
    ]
    assert len({one.sentence for one in out}) == len(out)
    assert all(one.sentence.endswith(".") for one in out)


def test_who_is_out_is_refused_unless_that_is_allowed() -> None:
    Standing.ACTIVE.require()
    Standing.LAPSED.require(Standing.LAPSED)
    for one in (Standing.LAPSED, Standing.SUSPENDED, Standing.REVOKED, Standing.NOT_A_MEMBER):
        with pytest.raises(NodeError, match=f"^{one.code}: "):
            one.require()
    with pytest.raises(NodeError, match=r"^suspended: "):
        Standing.SUSPENDED.require(Standing.LAPSED)
