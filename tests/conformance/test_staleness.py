"""Attack: pretend to have started from another version, or at another time."""

from dataclasses import replace

import pytest

from protocol import LIMITS, Code
from tests.protocol.world import NOW, UPDATE, VERSION, World, refused

SKEW_MS = LIMITS.clock_skew_s * 1000


def test_an_update_more_than_five_versions_late_is_refused() -> None:
    with refused(Code.STALE):
        World().admit(version=VERSION + 6)


def test_an_update_from_a_version_that_does_not_exist_yet_is_refused() -> None:
    with refused(Code.FUTURE_VERSION):
        World().admit(replace(UPDATE, version=VERSION + 1))


def test_a_version_of_the_future_is_refused_even_if_its_age_looks_fine() -> None:
    with refused(Code.FUTURE_VERSION):
        World().admit(replace(UPDATE, version=VERSION + 1), age=lambda started: 0)


@pytest.mark.parametrize("ahead", [0, SKEW_MS])
def test_an_update_signed_within_the_skew_ahead_is_taken(ahead: int) -> None:
    update = replace(UPDATE, issued_ms=NOW + ahead, expires_ms=NOW + ahead)
    assert World().admit(update).update == update


def test_an_update_signed_further_in_the_future_is_refused() -> None:
    update = replace(UPDATE, issued_ms=NOW + SKEW_MS + 1, expires_ms=NOW + SKEW_MS + 1)
    with refused(Code.CLOCK_SKEW):
        World().admit(update)


def test_an_update_that_never_expires_is_refused() -> None:
    with refused(Code.LIFETIME_TOO_LONG):
        World().admit(replace(UPDATE, expires_ms=2**53 - 1))
