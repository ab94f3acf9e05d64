"""Claims about the grandparent's audit, each named after what somebody tries."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from aggregation import AggregationError, Updates, aggregate
from aggregation.audit.commitment import (
    AuditDraw,
    Commitment,
    Leaf,
    Parts,
    Round,
    RoundAnswer,
    answer,
    commit,
    commitment,
    detection,
    encode,
    vector_digest,
)
from aggregation.audit.examination import SIGNATURE, Audit, Subtree, audit, plan, recomputed
from aggregation.audit.sketch import sketch
from aggregation.audit.verdict import AuditPolicy, AuditVerdict, Outcome, counted

Array = NDArray[np.float32]

M, F, SIZE, ROWS, SPOTS = 10, 3, 2_000, 256, 4
POLICY = AuditPolicy(f=30)
DRAW = AuditDraw(hashlib.sha256(b"drawn").digest())
BASELINE = vector_digest(np.zeros(SIZE, np.float32))


@dataclass(frozen=True, eq=False)
class Tier:
    """An interior node before the audit: what it holds and what it committed to."""

    parts: tuple[Parts, ...]
    committed: Commitment
    offer: Array

    def subtree(
        self, lie: Callable[[tuple[RoundAnswer, ...]], Sequence[RoundAnswer]] = lambda given: given
    ) -> Subtree:
        """What the grandparent gets of it, with all spots; ``lie`` changes the answer."""
        given = lie(answer(self.parts, DRAW.seed, ROWS))
        spots = {(r, i): self.parts[r].updates[i] for r, i in self.committed.leaves}
        return Subtree(self.committed, F, self.offer, given, spots)


def leaves(rng: np.random.Generator, rounds: int = 1) -> list[Array]:
    return [
        (0.5 + rng.standard_normal((M, SIZE))).astype(np.float32) * np.float32(0.9**r)
        for r in range(rounds)
    ]


def grow(
    name: str,
    rounds: Sequence[Array],
    rehearsal: float = 0.0,
    displace: Callable[[Array], Array] = lambda moved: moved,
    step: float = 1.0,
) -> Tier:
    """A tier's rounds; ``displace`` is what its parent does to its own aggregate."""
    offer: Array = np.zeros(SIZE, np.float32)
    made = []
    for updates in rounds:
        moved = displace(aggregate("trimmed_mean", Updates(updates), F).vector) * np.float32(step)
        term = None
        if rehearsal:
            length = np.median(np.linalg.norm(updates, axis=1)) * rehearsal
            term = np.full(SIZE, length / np.sqrt(SIZE), np.float32)
        offer = offer + moved if term is None else offer + moved + term
        made.append(([f"{name}/{i}" for i in range(M)], Parts(list(updates), moved, term), step))
    parts = tuple(of for _, of, _ in made)
    return Tier(parts, commit(name, BASELINE, made, offer), offer)


def siblings(count: int = 9, rounds: int = 1) -> list[Subtree]:
    rng = np.random.default_rng(1)
    return [grow(f"sibling-{i}", leaves(rng, rounds)).subtree() for i in range(count)]


def judged(suspect: Subtree, others: Sequence[Subtree] | None = None) -> tuple[AuditVerdict, Audit]:
    found = audit(
        [suspect, *(siblings() if others is None else others)], DRAW, ROWS, SPOTS, POLICY, F
    )
    return found.verdicts[0], found


def suspects(rounds: int = 1) -> list[Array]:
    return leaves(np.random.default_rng(2), rounds)


PUSH = np.float32(6) * np.sign(np.random.default_rng(3).standard_normal(SIZE)).astype(np.float32)


# What honest trees are told.


@pytest.mark.parametrize("rounds", [1, 3])
def test_honest_subtrees_are_clean_and_count(rounds: int) -> None:
    tier = grow("suspect", suspects(rounds), rehearsal=0.2)
    verdict, found = judged(tier.subtree(), siblings(rounds=rounds))
    assert {v.code for v in found.verdicts} == {"clean"}
    assert (len(found.counted), found.f) == (10, F)
    assert verdict.shift < 0.3


def test_colluders_that_the_tier_tolerates_are_no_accusation() -> None:
    rounds = suspects()
    rounds[0][:F] += PUSH
    verdict, _ = judged(grow("suspect", rounds).subtree())
    assert (verdict.code, verdict.outliers) == ("clean", F)


def test_a_subtree_with_other_data_is_apart_and_still_counts() -> None:
    rounds = [of + PUSH for of in suspects()]
    verdict, found = judged(grow("suspect", rounds).subtree())
    assert (verdict.outcome, verdict.code) == (Outcome.CLEAN, "apart")
    assert "suspect" in found.counted


def test_ten_subtrees_with_ten_domains_are_clean() -> None:
    rng = np.random.default_rng(4)
    tiers = [
        grow(str(i), [leaves(rng)[0] + 3 * rng.standard_normal(SIZE).astype(np.float32)])
        for i in range(10)
    ]
    found = audit([t.subtree() for t in tiers], DRAW, ROWS, SPOTS, POLICY, F)
    assert {v.code for v in found.verdicts} == {"clean"}


def test_leaves_that_differ_by_rounding_only_are_clean() -> None:
    same = np.full((M, SIZE), 0.25, np.float32)
    same[0, 0] += np.float32(1e-7)
    tiers = [grow(str(i), [same]) for i in range(5)]
    found = audit([t.subtree() for t in tiers], DRAW, ROWS, SPOTS, POLICY, 1)
    assert {v.code for v in found.verdicts} == {"clean"}


def test_more_outliers_than_tolerated_that_move_nothing_are_no_accusation() -> None:
    rounds = suspects()
    rounds[0][:4] *= 3  # long, but each in its own direction
    verdict, _ = judged(grow("suspect", rounds).subtree())
    assert (verdict.outcome, verdict.code, verdict.outliers) == (Outcome.CLEAN, "unmoved", 4)


# What captured trees are told.


@pytest.mark.parametrize(("colluders", "code"), [(4, "captured"), (5, "no-majority")])
def test_a_captured_subtree_is_left_out(colluders: int, code: str) -> None:
    rounds = suspects()
    rounds[0][:colluders] += PUSH
    verdict, found = judged(grow("suspect", rounds).subtree())
    assert (verdict.outcome, verdict.code) == (Outcome.CAPTURED, code)
    assert len(found.counted) == 9
    assert "suspect" not in found.counted


@pytest.mark.parametrize("when", [0, 1, 2])
def test_capture_in_one_round_of_three_is_found_under_rehearsal(when: int) -> None:
    rounds = suspects(3)
    rounds[when][:4] += PUSH
    verdict, _ = judged(grow("suspect", rounds, rehearsal=0.2).subtree(), siblings(rounds=3))
    assert (verdict.code, verdict.round) == ("captured", when)
    assert verdict.outlying == tuple((when, i) for i in range(4))


@pytest.mark.parametrize("others", [1, 3])
def test_naming_other_numbers_of_rounds_hides_nothing(others: int) -> None:
    rounds = suspects(2)
    rounds[1][:4] += PUSH
    verdict, found = judged(grow("suspect", rounds).subtree(), siblings(rounds=others))
    assert (verdict.code, verdict.round) == ("captured", 1)
    assert {v.code for v in found.verdicts[1:]} == {"clean"}


@pytest.mark.parametrize("width", [5, 6])
def test_thirty_colluders_in_halves_of_subtrees_do_not_stretch_the_scale(width: int) -> None:
    rng, tiers = np.random.default_rng(5), []
    for i in range(10):
        of = leaves(rng)[0] + 3 * rng.standard_normal(SIZE).astype(np.float32)
        if i < 30 // width:
            of[:width] += PUSH * np.float32(0.75)  # less than what sets subtrees apart
        tiers.append(grow(str(i), [of]).subtree())
    found = audit(tiers, DRAW, ROWS, SPOTS, POLICY, F)
    captured = {v.child for v in found.verdicts if v.outcome is Outcome.CAPTURED}
    assert captured == {str(i) for i in range(30 // width)}


def test_the_order_of_the_subtrees_changes_no_verdict() -> None:
    rounds = suspects()
    rounds[0][:4] += PUSH
    tiers = [grow("suspect", rounds).subtree(), *siblings(4)]
    found = audit(tiers, DRAW, ROWS, SPOTS, POLICY, 1)
    turned = audit(tiers[::-1], DRAW, ROWS, SPOTS, POLICY, 1)
    assert [v.code for v in turned.verdicts[::-1]] == [v.code for v in found.verdicts]


def clean(child: str, code: str = "clean") -> AuditVerdict:
    return AuditVerdict(child, Outcome.CLEAN, code, "")


def test_subtrees_apart_count_only_while_the_rule_carries_them() -> None:
    usual = [clean(str(i)) for i in range(6)]
    two = [clean(f"apart-{i}", "apart") for i in range(2)]
    assert counted([*usual, *two], 2) == (tuple(v.child for v in [*usual, *two]), 2)
    assert counted([*usual, *two], 1) == (tuple(v.child for v in usual), 1)


def test_f_falls_with_what_is_left() -> None:
    bad = [AuditVerdict(f"bad-{i}", Outcome.CAPTURED, "captured", "") for i in range(7)]
    assert counted([*bad, *(clean(str(i)) for i in range(3))], 3) == (("0", "1", "2"), 1)
    assert counted(bad, 3) == ((), 0)


# What an interior node may try.


def sketched(tier: Tier, **changes: Array | None) -> Callable[..., Sequence[RoundAnswer]]:
    return lambda given: [replace(given[0], **changes), *given[1:]]


def test_a_parent_that_moves_its_aggregate_itself_is_not_supported_by_its_leaves() -> None:
    tier = grow("suspect", suspects(), displace=lambda moved: moved + PUSH)
    verdict, found = judged(tier.subtree())
    assert (verdict.outcome, verdict.code) == (Outcome.INCONSISTENT, "unsupported")
    assert "suspect" not in found.counted


def test_a_displacement_answered_as_its_leaves_would_have_it_does_not_add_up() -> None:
    rounds = suspects()
    honest = answer(grow("suspect", rounds).parts, DRAW.seed, ROWS)[0].displacement
    tier = grow("suspect", rounds, displace=lambda moved: moved + PUSH)
    verdict, _ = judged(tier.subtree(sketched(tier, displacement=honest)))
    assert verdict.code == "sum-differs"


def test_rehearsal_beyond_its_cap_is_refused() -> None:
    for share, code in ((0.2, "clean"), (0.5, "rehearsal-too-large")):
        assert judged(grow("suspect", suspects(), rehearsal=share).subtree())[0].code == code


def test_rehearsal_that_was_not_committed_is_refused() -> None:
    tier = grow("suspect", suspects())
    verdict, _ = judged(tier.subtree(sketched(tier, rehearsal=np.ones(ROWS, np.float32))))
    assert verdict.code == "not-what-was-committed"


def test_a_step_beyond_the_policy_is_refused() -> None:
    for step, code in ((0.5, "clean"), (3.0, "step-too-large"), (-1.0, "step-too-large")):
        assert judged(grow("suspect", suspects(), step=step).subtree())[0].code == code


@pytest.mark.parametrize(
    "lie",
    [
        lambda given: [],
        lambda given: [*given, *given],
        lambda given: [replace(given[0], updates=given[0].updates[1:])],
        lambda given: [replace(given[0], updates=given[0].updates[:, :4])],
        lambda given: [replace(given[0], updates=given[0].updates * np.float32(np.nan))],
        lambda given: [replace(given[0], updates=given[0].updates.astype(np.float64))],
    ],
    ids=["nothing", "a round more", "an update less", "fewer rows", "NaN", "float64"],
)
def test_an_answer_to_other_parts_than_committed_is_refused(
    lie: Callable[[tuple[RoundAnswer, ...]], Sequence[RoundAnswer]],
) -> None:
    verdict, _ = judged(grow("suspect", suspects()).subtree(lie))
    assert verdict.code == "not-what-was-committed"


def test_no_answer_is_a_verdict() -> None:
    silent = replace(grow("suspect", suspects()).subtree(), answer=None)
    assert judged(silent)[0].code == "no-answer"


def test_another_offer_than_the_committed_one_is_refused() -> None:
    tier = grow("suspect", suspects())
    other = replace(tier.subtree(), offer=tier.offer * np.float32(1.00001))
    assert judged(other)[0].code == "not-what-was-committed"


def test_a_node_or_an_update_counted_twice_is_refused() -> None:
    tier = grow("suspect", suspects(2))
    first, second = tier.committed.rounds
    twice = replace(first, updates=(first.updates[0], *first.updates[:-1]))
    repeated = replace(second, updates=first.updates)
    for rounds in ((twice, second), (first, repeated)):
        committed = replace(tier.committed, rounds=rounds)
        verdict, _ = judged(replace(tier.subtree(), committed=committed), siblings(rounds=2))
        assert verdict.code == "counted-twice"


def all_spots(tier: Tier, subtree: Subtree) -> AuditVerdict:
    count = len(tier.committed.leaves)
    return audit([subtree], DRAW, ROWS, count, POLICY, 0).verdicts[0]


def test_spots_meet_every_way_to_lie_about_an_update() -> None:
    tier = grow("suspect", suspects())
    honest = tier.subtree()
    assert all_spots(tier, honest).code == "clean"
    missing = {place: v for place, v in honest.spots.items() if place != (0, 7)}
    assert all_spots(tier, replace(honest, spots=missing)).code == "spot-missing"
    other = {**honest.spots, (0, 7): honest.spots[0, 6]}
    assert all_spots(tier, replace(honest, spots=other)).code == "spot-digest"
    faked = np.array(answer(tier.parts, DRAW.seed, ROWS)[0].updates)
    faked[7] = sketch([honest.spots[0, 7] + np.float32(0.01)], DRAW.seed, ROWS)[0]
    assert all_spots(tier, tier.subtree(sketched(tier, updates=faked))).code == "spot-sketch"


def test_a_shown_update_that_is_not_finite_is_a_verdict_and_no_error() -> None:
    tier = grow("suspect", suspects())
    bad = np.full(SIZE, np.nan, np.float32)
    first = tier.committed.rounds[0]
    named = (replace(first.updates[0], digest=vector_digest(bad)), *first.updates[1:])
    honest = tier.subtree()
    lied = replace(
        honest,
        committed=replace(tier.committed, rounds=(replace(first, updates=named),)),
        spots={**honest.spots, (0, 0): bad},
    )
    assert all_spots(tier, lied).code == "spot-sketch"


def test_two_subtrees_of_one_child_are_refused() -> None:
    one = grow("suspect", suspects()).subtree()
    with pytest.raises(AggregationError) as refused:
        audit([one, one], DRAW, ROWS, SPOTS, POLICY, 0)
    assert refused.value.code == "counted-twice"


def test_spots_meet_false_sketches_as_often_as_stated() -> None:
    children = [grow(f"child-{i}", suspects(2)).committed for i in range(3)]
    false, spots, hits, draws = 6, 8, 0, 2_000
    for number in range(draws):
        asked = AuditDraw(number.to_bytes(32, "big")).spots(children, spots)
        assert len(set(asked)) == spots
        hits += any(child == "child-1" and r == 1 and i < false for child, r, i in asked)
    stated = detection(60, false, spots)
    assert 0.5 < stated < 0.7
    assert abs(hits / draws - stated) < 4 * np.sqrt(stated * (1 - stated) / draws)


# Commitments and draws.


def test_every_part_of_a_commitment_changes_its_digest() -> None:
    one, two = bytes(32), bytes([1] * 32)
    first = Round((Leaf("a", one), Leaf("b", two)), one, 1.0, None)
    base = Commitment("child", one, one, (first, first))
    others = [
        replace(base, child="chile"),
        replace(base, offer=two),
        replace(base, baseline=two),
        replace(base, rounds=(first,)),
        *(
            replace(base, rounds=(changed, first))
            for changed in (
                replace(first, displacement=two),
                replace(first, step=0.5),
                replace(first, rehearsal=one),
                replace(first, updates=first.updates[::-1]),
                replace(first, updates=first.updates[:1]),
                replace(first, updates=(Leaf("a", two), Leaf("b", two))),
                replace(first, updates=(Leaf("ab", one), Leaf("", two))),
            )
        ),
    ]
    digests = [commitment(of) for of in (base, *others)]
    assert len(set(digests)) == len(digests)


def test_a_digest_of_another_length_is_refused() -> None:
    with pytest.raises(AggregationError) as refused:
        encode(Commitment("child", b"short", bytes(32), ()))
    assert refused.value.code == "bad-commitment"


def test_the_spots_depend_on_what_was_committed_and_not_on_its_order() -> None:
    children = [grow(f"child-{i}", suspects()).committed for i in range(3)]
    changed = [replace(children[0], baseline=bytes(32)), *children[1:]]
    assert DRAW.spots(children[::-1], 5) == DRAW.spots(children, 5) != DRAW.spots(changed, 5)


def test_what_is_published_first_does_not_contain_the_secret() -> None:
    assert DRAW.secret not in DRAW.seed
    assert DRAW.secret.hex() not in repr(DRAW)
    assert AuditDraw(DRAW.seed).seed != DRAW.seed


# Bytes, and what is done about captured subtrees.


@pytest.mark.parametrize("size", [6_000, 20_000, 1_000_000])
def test_the_plan_counts_every_byte_and_stays_within_its_share(size: int) -> None:
    one = bytes(32)
    of = Round(tuple(Leaf(f"device-{i}", one) for i in range(M)), one, 1.0, one)
    children = [Commitment(f"child-{i}", one, one, (of, of, of)) for i in range(10)]
    planned = plan(size, children)
    sent = sum(len(encode(c)) for c in children) + SIGNATURE * (300 + 10) + 64 * 10
    sent += 4 * planned.rows * 10 * 3 * (M + 2) + 4 * size * planned.spots
    assert planned.total == sent <= 0.05 * planned.forwarding
    assert planned.forwarding == 4 * size * 300
    assert planned.rows >= (64 if size < 10_000 else 256)
    assert planned.spots >= 6


def test_a_share_too_small_for_a_sketch_is_refused() -> None:
    with pytest.raises(AggregationError) as refused:
        plan(100, [grow("child", suspects()).committed])
    assert refused.value.code == "bad-rows"


def test_a_captured_part_is_recomputed_from_its_inliers() -> None:
    rounds = suspects(2)
    rounds[1][:4] += PUSH
    tier = grow("suspect", rounds, rehearsal=0.2)
    verdict, _ = judged(tier.subtree(), siblings(rounds=2))
    found = recomputed(tier.committed, [list(of) for of in rounds], verdict)
    np.testing.assert_allclose(found, rounds[0].mean(0) + rounds[1][4:].mean(0), atol=1e-5)


def test_forwarded_updates_must_be_the_committed_ones() -> None:
    rounds = suspects()
    tier = grow("suspect", rounds)
    with pytest.raises(AggregationError) as refused:
        recomputed(tier.committed, [list(rounds[0][::-1])], clean("suspect"))
    assert refused.value.code == "not-what-was-committed"


def test_half_a_subtree_stands_for_nobody() -> None:
    rounds = suspects()
    rounds[0][:5] += PUSH
    tier = grow("suspect", rounds)
    verdict = replace(clean("suspect"), outlying=tuple((0, i) for i in range(5)))
    with pytest.raises(AggregationError) as refused:
        recomputed(tier.committed, [list(of) for of in rounds], verdict)
    assert refused.value.code == "no-majority"
