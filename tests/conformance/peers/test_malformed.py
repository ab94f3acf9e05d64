"""Attack: send what is no message, what is none of ours, or more than may be sent."""

from __future__ import annotations

import pytest

from nodes.peers.wire.limits import WireLimits
from nodes.peers.wire.methods import METHODS
from tests.conformance.peers.asking import ANSWERED, ask, ask_on, channel_to
from tests.conformance.peers.family import Family
from tests.conformance.peers.test_strangers import PARTICULAR, request_for

UNKNOWN_FIELDS = b"\xfa\x3f\x05hello" + b"\xf8\x3f\x01"
"""Fields 1023, of bytes and of a number."""

RUBBISH = {
    "a broken tag": b"\xff" * 64,
    "a length beyond the end": b"\x0a\xff\xff\xff\x7f",
    "an endless number": b"\x08" + b"\xff" * 20,
    "a group without an end": b"\x0b" * 50,
    "deeply nested": b"\x0a" * 5000,
}


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("what", sorted(RUBBISH))
def test_what_is_no_message_is_refused(family: Family, name: str, what: str) -> None:
    target = family.target_of(METHODS[name].service)
    got = ask(target, family.members["two"].shown, name, RUBBISH[what], first=10)
    assert (got.code, got.told) == ("malformed", True), got
    assert got.sentence.endswith(".")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_unknown_fields_change_nothing(family: Family, name: str) -> None:
    target = family.target_of(METHODS[name].service)
    request = request_for(name).SerializeToString() + UNKNOWN_FIELDS
    got = ask(target, family.members["two"].shown, name, request)
    assert got.code == PARTICULAR.get(name, ANSWERED), got


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_message_over_the_limit_is_refused_unread(family: Family, name: str) -> None:
    target = family.target_of(METHODS[name].service)
    request = bytes(WireLimits().message_bytes + 1)
    with channel_to(target, family.members["two"].shown) as channel:
        got = ask_on(channel, name, request, first=10)
        assert got.code == "too-large", got
        assert ask_on(channel, name, request_for(name)).code == PARTICULAR.get(name, ANSWERED)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_metadata_over_the_limit_are_refused(family: Family, name: str) -> None:
    target = family.target_of(METHODS[name].service)
    more = tuple((f"x-{n}", "y" * 4000) for n in range(8))
    with channel_to(target, family.members["two"].shown) as channel:
        got = ask_on(channel, name, request_for(name), metadata=more)
        assert got.code == "too-large", got
        assert ask_on(channel, name, request_for(name)).code == PARTICULAR.get(name, ANSWERED)
