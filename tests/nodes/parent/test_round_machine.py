"""The round state machine, driven by events alone."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from nodes.config.policy import RoundPolicy
from nodes.parent.round_events import (
    AbstentionReceived,
    AnswerRefused,
    Ask,
    CloseRound,
    MembersChanged,
    OpenRound,
    Outcome,
    RoundAction,
    RoundDone,
    Seat,
    Supersede,
    Tick,
    UpdateReceived,
)
from nodes.parent.round_machine import RoundMachine
from protocol import Digest, NodeId

A, B, C, D = (NodeId(letter * 64) for letter in "abcd")
POLICY = RoundPolicy(deadline_ms=1000, grace=0.5, retry_ms=50, resend_ms=400, pause_ms=10)


def machine(members: Sequence[NodeId] = (A, B, C), policy: RoundPolicy = POLICY) -> RoundMachine:
    return RoundMachine(policy=policy, members=tuple(members))


def update(
    child: NodeId, number: int, now: int, *, started: int = 0, name: str = ""
) -> UpdateReceived:
    return UpdateReceived(child, Digest(name or f"{child[0]}{number}"), number, started, now)


def asked(actions: list[RoundAction]) -> list[NodeId]:
    return [action.child for action in actions if isinstance(action, Ask)]


def only(actions: list[RoundAction], kind: type) -> list[RoundAction]:
    return [action for action in actions if isinstance(action, kind)]


def test_a_round_opens_and_asks_every_member() -> None:
    actions = machine().handle(Tick(0))
    assert actions[0] == OpenRound(1, 1000, (A, B, C))
    assert asked(actions) == [A, B, C]


def test_a_parent_with_one_child_works() -> None:
    m = machine([A])
    m.handle(Tick(0))
    assert CloseRound(1, Outcome.AGGREGATE, {A: Digest("a1")}) in m.handle(update(A, 1, 5))


def test_a_parent_without_children_opens_nothing() -> None:
    assert machine([]).handle(Tick(0)) == []


def test_a_round_closes_when_everybody_has_answered() -> None:
    m = machine([A, B])
    m.handle(Tick(0))
    assert only(m.handle(update(A, 1, 5)), CloseRound) == []
    assert only(m.handle(AbstentionReceived(B, 1, None, 6)), CloseRound) == [
        CloseRound(1, Outcome.AGGREGATE, {A: Digest("a1")})
    ]


def test_after_quorum_the_rest_get_a_grace_period() -> None:
    m = machine([A, B, C, D], RoundPolicy(f=1, deadline_ms=1000, grace=0.5))
    m.handle(Tick(0))
    for child in (A, B, C):
        assert only(m.handle(update(child, 1, 100)), CloseRound) == []
    assert only(m.handle(Tick(149)), CloseRound) == []
    (closed,) = only(m.handle(Tick(150)), CloseRound)
    assert isinstance(closed, CloseRound)
    assert set(closed.updates) == {A, B, C}


def test_at_the_deadline_what_is_there_is_taken() -> None:
    m = machine([A, B])
    m.handle(Tick(0))
    m.handle(update(A, 1, 5))
    assert only(m.handle(Tick(1000)), CloseRound) == [
        CloseRound(1, Outcome.AGGREGATE, {A: Digest("a1")}, absent=(B,))
    ]


def test_fewer_than_2f_plus_1_updates_make_a_round_void() -> None:
    m = machine([A, B, C, D], RoundPolicy(f=1, deadline_ms=1000))
    m.handle(Tick(0))
    m.handle(update(A, 1, 5))
    m.handle(update(B, 1, 5))
    (closed,) = only(m.handle(Tick(1000)), CloseRound)
    assert isinstance(closed, CloseRound)
    assert closed.outcome is Outcome.VOID


def test_a_quarantined_child_neither_makes_a_quorum_nor_holds_a_round_up() -> None:
    m = machine([A, B, C, D], RoundPolicy(f=1, deadline_ms=1000, grace=0))
    m.quarantined = frozenset([D])
    m.handle(Tick(0))
    for child in (D, A, B):
        assert only(m.handle(update(child, 1, 5)), CloseRound) == []
    (closed,) = only(m.handle(update(C, 1, 6)), CloseRound)
    assert isinstance(closed, CloseRound)
    assert closed.outcome is Outcome.AGGREGATE


def test_f_needs_3f_plus_1_children_to_count() -> None:
    policy = RoundPolicy(f=1)
    assert (policy.tolerates(3), policy.tolerates(4)) == (0, 1)
    assert (policy.quorum(3), policy.quorum(4)) == (3, 3)


def test_a_child_that_is_not_ready_is_asked_again() -> None:
    m = machine([A])
    m.handle(Tick(0))
    assert m.handle(AbstentionReceived(A, 1, 50, 10)) == []
    assert m.handle(Tick(59)) == []
    assert m.handle(Tick(60)) == [Ask(A, 1, 2, 1000)]


def test_a_silent_child_is_asked_again_after_a_while() -> None:
    m = machine([A])
    m.handle(Tick(0))
    assert m.handle(Tick(399)) == []
    assert m.handle(Tick(400)) == [Ask(A, 1, 2, 1000)]


def test_a_refused_answer_does_not_silence_a_child() -> None:
    m = machine([A])
    m.handle(Tick(0))
    m.handle(AnswerRefused(A, 1, 10))
    assert m.handle(Tick(1010)) != []
    m2 = machine([A], RoundPolicy(deadline_ms=10_000, refused_ms=10, max_refusals=3))
    m2.handle(Tick(0))
    m2.handle(AnswerRefused(A, 1, 5))
    assert m2.handle(Tick(15)) == [Ask(A, 1, 2, 10_000)]
    m2.handle(AnswerRefused(A, 1, 16))
    closed = only(m2.handle(AnswerRefused(A, 1, 30)), CloseRound)
    assert closed == [CloseRound(1, Outcome.VOID, {}, absent=(A,))], "three refusals are enough"


def test_a_late_update_takes_a_seat_in_the_next_round() -> None:
    m = machine([A, B])
    m.handle(Tick(0))
    m.handle(update(A, 1, 5))
    m.handle(Tick(1000))
    m.handle(RoundDone({A: 2}, 1000))
    m.handle(update(B, 1, 1005, started=1))
    actions = m.handle(Tick(1010))
    assert Seat(B, Digest("b1"), 2, late=True) in actions


def test_a_late_update_that_comes_twice_waits_once() -> None:
    m = machine([A, B])
    m.handle(Tick(0))
    m.handle(update(A, 1, 5))
    m.handle(Tick(1000))
    m.handle(RoundDone({A: 1}, 1000))
    late = update(B, 1, 1005, name="b1")
    assert m.handle(late) == []
    assert m.handle(late) == []
    assert Seat(B, Digest("b1"), 2, late=True) in m.handle(Tick(1011))


def test_a_fresh_update_replaces_the_late_one_of_the_same_child() -> None:
    m = machine([A, B])
    m.handle(Tick(0))
    m.handle(update(A, 1, 5))
    m.handle(Tick(1000))
    m.handle(RoundDone({A: 2}, 1000))
    m.handle(update(B, 1, 1005, started=1))
    m.handle(Tick(1010))
    assert m.handle(update(B, 2, 1020, started=2)) == [
        Supersede(B, Digest("b1"), "superseded"),
        Seat(B, Digest("b2"), 2, late=False),
    ]


def test_an_update_from_before_its_child_was_last_counted_is_superseded() -> None:
    m = machine([A, B])
    m.handle(Tick(0))
    m.handle(update(A, 1, 5))
    m.handle(update(B, 1, 6))
    m.handle(RoundDone({A: 7, B: 7}, 10))
    m.handle(Tick(20))
    assert m.handle(update(A, 1, 30, started=6, name="old")) == [
        Supersede(A, Digest("old"), "superseded")
    ]


def test_a_second_update_for_the_same_round_is_not_seated() -> None:
    m = machine([A, B])
    m.handle(Tick(0))
    m.handle(update(A, 1, 5))
    assert m.handle(update(A, 1, 6, name="again")) == [
        Supersede(A, Digest("again"), "already-answered")
    ]


def test_a_resumed_round_keeps_its_seats_and_asks_only_the_others() -> None:
    m = machine([A, B])
    m.resume(4, 1000, {A: Digest("a4")}, now_ms=100)
    assert asked(m.handle(Tick(100))) == [B]
    (closed,) = only(m.handle(update(B, 4, 200)), CloseRound)
    assert closed == CloseRound(4, Outcome.AGGREGATE, {A: Digest("a4"), B: Digest("b4")})


def test_a_member_that_leaves_is_not_waited_for() -> None:
    m = machine([A, B])
    m.handle(Tick(0))
    m.handle(update(A, 1, 5))
    assert only(m.handle(MembersChanged((A,), 10)), CloseRound) == [
        CloseRound(1, Outcome.AGGREGATE, {A: Digest("a1")})
    ]


# -- a clock that is set back: here always by ten seconds ---------------------------------------


def test_a_round_ends_as_soon_as_it_would_have_on_a_clock_that_was_set_back() -> None:
    m = machine([A, B])
    m.handle(Tick(10_000))
    m.handle(update(A, 1, 10_100))
    assert only(m.handle(Tick(100)), CloseRound) == []
    assert only(m.handle(Tick(999)), CloseRound) == []
    assert len(only(m.handle(Tick(1000)), CloseRound)) == 1


def test_the_grace_period_goes_on_on_a_clock_that_was_set_back() -> None:
    m = machine([A, B, C, D], RoundPolicy(f=1, deadline_ms=1000, grace=0.5))
    m.handle(Tick(10_000))
    for child in (A, B, C):
        m.handle(update(child, 1, 10_100))
    assert only(m.handle(Tick(100)), CloseRound) == []
    assert only(m.handle(Tick(149)), CloseRound) == []
    assert len(only(m.handle(Tick(150)), CloseRound)) == 1


def test_a_silent_child_is_asked_again_on_a_clock_that_was_set_back() -> None:
    m = machine([A])
    m.handle(Tick(10_000))
    assert m.handle(Tick(0)) == []
    assert asked(m.handle(Tick(399))) == []
    assert asked(m.handle(Tick(400))) == [A]


def test_the_next_round_opens_on_a_clock_that_was_set_back() -> None:
    m = machine([A])
    m.handle(Tick(10_000))
    m.handle(update(A, 1, 10_000))
    m.handle(RoundDone({A: 2}, 10_000))
    assert m.handle(Tick(0)) == []
    assert m.handle(Tick(9)) == []
    assert OpenRound(2, 1010, (A,)) in m.handle(Tick(10))


def test_a_resumed_round_ends_no_later_than_one_that_opens_now() -> None:
    """The clock was set back while the process was not there."""
    m = machine([A, B])
    m.resume(4, 10_000, {A: Digest("a4")}, now_ms=100)
    assert only(m.handle(Tick(1099)), CloseRound) == []
    assert len(only(m.handle(Tick(1100)), CloseRound)) == 1


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["tick", "update", "refused", "abstain", "again", "done", "members"]),
        st.sampled_from([A, B, C, D]),
        st.integers(0, 3),
        st.integers(0, 400),
    ),
    max_size=80,
)


@given(EVENTS, st.integers(0, 1))
def test_whatever_happens_an_update_is_in_at_most_one_closed_round(
    script: list[tuple[str, NodeId, int, int]], f: int
) -> None:
    m = machine([A, B, C, D], RoundPolicy(f=f, deadline_ms=500, retry_ms=50, pause_ms=10))
    now, serial, version = 0, 0, 1
    closed: list[CloseRound] = []
    members: list[int] = []  # how many there were when each round closed
    for kind, child, back, wait in script:
        now += wait
        number = max(1, m.next_round - 1 - back)
        match kind:
            case "tick":
                actions = m.handle(Tick(now))
            case "update":
                serial += 1
                actions = m.handle(update(child, number, now, started=version, name=f"u{serial}"))
            case "refused":
                actions = m.handle(AnswerRefused(child, number, now))
            case "abstain":
                actions = m.handle(AbstentionReceived(child, number, None, now))
            case "again":
                actions = m.handle(AbstentionReceived(child, number, 20, now))
            case "members":
                actions = m.handle(MembersChanged((A, B, C, D)[: back + 1], now))
            case _:
                actions = []
        for action in actions:
            if isinstance(action, CloseRound):
                closed.append(action)
                members.append(len(m.members))
                version += 1
                m.handle(RoundDone(dict.fromkeys(action.updates, version), now))
    used = [digest for action in closed for digest in action.updates.values()]
    assert len(used) == len(set(used))
    assert [action.round for action in closed] == sorted({action.round for action in closed})
    for action, count in zip(closed, members, strict=True):
        enough = len(action.updates) >= m.policy.needed(count)
        assert action.outcome is Outcome.VOID or enough


def test_a_seat_that_is_lost_takes_quorum_with_it() -> None:
    """Else the grace period would go on, and the round end with too few."""
    m = machine([A, B, C, D], RoundPolicy(f=1, deadline_ms=1000, grace=0.5))
    m.handle(Tick(0))
    for child in (A, B, C):
        m.handle(update(child, 1, 100))
    m.handle(MembersChanged((A, B, D), 110))
    again = m.handle(MembersChanged((A, B, C, D), 110))
    assert again == [Ask(C, 1, 2, 1000)]
    assert not only(m.handle(Tick(500)), CloseRound)
    ended = m.handle(update(C, 1, 600, name="c2"))
    ended += m.handle(Tick(900))
    assert (
        CloseRound(1, Outcome.AGGREGATE, {A: Digest("a1"), B: Digest("b1"), C: Digest("c2")}, (D,))
        in ended
    )
