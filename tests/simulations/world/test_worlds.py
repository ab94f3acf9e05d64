"""A tree of production nodes on a virtual clock."""

from __future__ import annotations

import numpy as np
import pytest

from protocol import Role
from simulations.world.hosts import ProcessHost
from simulations.world.members import START_MS, Mail, Maker
from simulations.world.places import Machine
from simulations.world.post import Post
from tests.simulations.world.worlds import live, maker, places


def test_every_scope_comes_near_the_best_that_it_can_be() -> None:
    host, _, _ = live(maker(limit=6), limit=6)
    for place in host.members[0].maker.places.lowest():
        measured = host.members[place.id].measured()
        assert measured.best is not None
        assert measured.loss - measured.best < 0.05 * (measured.base - measured.best)


def test_nodes_are_the_production_ones_and_their_ledgers_hold() -> None:
    host, _, _ = live(maker())
    for member in host.members:
        assert member.node.ledger.verify() > 0
    released = [e.body for e in host.members[1].node.ledger.events(["released"])]
    assert [body["kind"] for body in released][:2] == ["initial", "round"]


def test_the_same_seed_gives_the_same_world() -> None:
    heads = []
    for _ in range(2):
        host, post, _ = live(maker())
        heads.append(
            ([list(m.node.ledger.events())[-1].digest for m in host.members], post.traffic)
        )
    assert heads[0] == heads[1]


@pytest.mark.slow
def test_several_processes_give_the_same_world_as_one() -> None:
    of = places()
    shard_of = [0 if p.id % 2 else 1 for p in of]
    _, alone, seen = live(maker())
    with ProcessHost(maker, (), shard_of, 2) as host:
        post = Post(of, host, START_MS)
        for place in of:
            if place.role is not Role.DEVICE:
                post.wake(place.id, START_MS)
        rounds = dict.fromkeys((p.id for p in of.lowest()), 0)
        turns = []

        def took(event: object, turn: object) -> None:
            turns.append((event, turn))
            if event.at in rounds:  # type: ignore[attr-defined]
                rounds[event.at] = turn.rounds  # type: ignore[attr-defined]

        post.run(took, lambda: min(rounds.values()) >= 3)
        assert host.usage().cpu_s > 0
    assert post.traffic == alone.traffic
    assert [e for e, _ in turns] == [e for e, _ in seen]


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(Exception, match="nobody knows how to make this"):
        ProcessHost(_unmade, (), [0], 1)


def _unmade() -> Maker:
    raise ValueError("nobody knows how to make this")


def test_slow_devices_take_longer() -> None:
    _, fast, _ = live(maker())
    slow = places(machine=Machine(rank=4, steps_per_s=0.25))
    _, late, _ = live(maker(slow))
    assert late.elapsed_s > 3 * fast.elapsed_s


def test_a_device_that_is_switched_off_is_asked_again() -> None:
    absent = places(machine=Machine(rank=4, availability=0.5))
    host, post, _ = live(maker(absent, {"deadline_s": 2000}))
    assert all(m.rounds >= 3 for m in host.members if m.place.scope.tier == 1 and m.parent)
    assert post.elapsed_s > 200


def test_lost_mail_stops_nothing() -> None:
    lost: list[Mail] = []

    def every_fifth(mail: Mail, _: int) -> bool:
        lost.append(mail)
        return len(lost) % 5 == 0

    host, _, _ = live(maker(rounds={"deadline_s": 900}), lost=every_fifth)
    assert all(m.node.ledger.verify() > 0 for m in host.members)


def test_a_crashed_node_goes_on_from_what_it_stored() -> None:
    def plan(post: Post) -> None:
        for number in range(len(places())):
            post.crash(number, START_MS + 10_000 + 997 * number)

    host, _, _ = live(maker(), plan=plan)
    whole, _, _ = live(maker())
    for one, other in zip(host.members, whole.members, strict=True):
        assert one.node.ledger.verify() > 0
        if one.place.role is not Role.DEVICE:
            assert abs(one.measured().loss - other.measured().loss) < 0.2


def test_mail_weighs_what_its_parts_weigh() -> None:
    assert Mail(0, 1, "task", "t", {"a": b"12", "b": b"345"}).size == 5


def test_optima_are_the_means_of_those_below() -> None:
    made = maker()
    problem = made.problem
    for number, children in made.places.children().items():
        optima = [problem.optimum(c) for c in children]  # type: ignore[attr-defined]
        expected = np.mean(optima, axis=0)
        np.testing.assert_allclose(problem.optimum(number), expected, atol=1e-5)  # type: ignore[attr-defined]
