"""Production nodes through crashes, enemies and rough weather: a sample of ``make chaos``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.parent.round_events import RoundAction, UpdateReceived
from nodes.parent.round_machine import RoundMachine
from nodes.state.events import OfferCounted
from nodes.state.offers import Offers
from simulations.chaos import Invariant, faults, run
from simulations.world.storage import FileLedger

STEPS = 150
SEEDS = range(8)
BOUND = 10
"""Seeds within which a broken rule must be found."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_what_must_hold_holds(seed: int) -> None:
    result = run(seed, STEPS)
    assert result.failure is None, result.failure


@pytest.mark.slow
@pytest.mark.parametrize("seed", [20, 228, 272, 341, 1070])
def test_what_seeds_once_found_stays_mended(seed: int) -> None:
    """A child shut out and let in again at once kept its chair; two ways to answer one task twice
    ended its parent's process; a certificate signed by a clock that was an hour ahead shut its
    child out until then; when every child was revoked, nothing was left to happen."""
    result = run(seed, 500)
    assert result.failure is None, result.failure


def test_an_error_of_the_simulator_is_told_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(faults, "strike", fails)
    failure = run(5, STEPS).failure
    assert failure is not None
    assert (failure.seed, failure.invariant) == (5, Invariant.NO_ERROR)
    assert "ZeroDivisionError" in failure.what


@pytest.mark.slow
def test_the_same_seed_gives_the_same_trace() -> None:
    assert run(3, STEPS).digest == run(3, STEPS).digest


@pytest.mark.slow
def test_the_command_says_the_trace() -> None:
    done = CliRunner().invoke(app, ["sim", "chaos", "--seed", "4", "--steps", "50"])
    assert done.exit_code == 0, done.output
    assert "1 of 1 seeds pass" in done.output


def forget_claims(patch: pytest.MonkeyPatch) -> None:
    """A ledger that does not know which tasks were answered."""
    patch.setattr(FileLedger, "taken", lambda *_: False)


def forget_who_was_counted(patch: pytest.MonkeyPatch) -> None:
    """A round machine that lets a child be counted again for what was counted."""
    receive: Callable[[RoundMachine, UpdateReceived], list[RoundAction]] = RoundMachine._receive

    def forgetful(machine: RoundMachine, event: UpdateReceived) -> list[RoundAction]:
        machine.counted.clear()
        return receive(machine, event)

    patch.setattr(RoundMachine, "_receive", forgetful)


def forget_the_baseline(patch: pytest.MonkeyPatch) -> None:
    """A node that offers again what its parent has counted."""

    def forgetful(offers: Offers, event: OfferCounted, _: int) -> None:
        offers.settle(event.update)

    patch.setattr(Offers, "count", forgetful)


@pytest.mark.parametrize(
    ("breaks", "invariant"),
    [
        (forget_claims, Invariant.LEDGER),
        (forget_who_was_counted, Invariant.LEDGER),
        (forget_the_baseline, Invariant.COUNTED_ONCE),
    ],
)
def test_a_broken_rule_is_found_and_replayed_from_its_seed(
    monkeypatch: pytest.MonkeyPatch,
    breaks: Callable[[pytest.MonkeyPatch], None],
    invariant: Invariant,
) -> None:
    breaks(monkeypatch)
    found = next(r for r in (run(seed, STEPS) for seed in range(BOUND)) if r.failure)
    assert found.failure is not None
    assert found.failure.invariant == invariant
    again = run(found.seed, STEPS)
    assert (again.digest, again.failure) == (found.digest, found.failure)
