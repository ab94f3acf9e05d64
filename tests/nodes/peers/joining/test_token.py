"""A token is read back as it was written, and one wrong letter is found before anything is done."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import NodeError
from nodes.peers.joining.token import JoinToken
from protocol import Digest, Role, Scope

LETTERS = string.ascii_letters + string.digits + "-_" + "=+/ .ä"
TOKEN = JoinToken(
    network=Digest("ab" * 32),
    authority=Digest("cd" * 32),
    addresses=("10.0.0.7:9941", "[2001:db8::1]:9941", "gateway.example:443"),
    id=bytes(range(8)),
    secret=bytes(range(16)),
    scope=Scope("/en/healthcare/cardiology"),
    role=Role.DEVICE,
    expires_ms=1_800_000_000_123,
)

digests = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(raw.hex()))
addresses = st.builds(
    "{}:{}".format,
    st.sampled_from(["10.0.0.7", "[::1]", "gateway.example", "a"]),
    st.integers(1, 65535),
)
tokens = st.builds(
    JoinToken,
    network=digests,
    authority=digests,
    addresses=st.lists(addresses, min_size=1, max_size=3, unique=True).map(tuple),
    id=st.binary(min_size=8, max_size=8),
    secret=st.binary(min_size=16, max_size=16),
    scope=st.sampled_from(["/", "/en", "/en/a_b/c-1"]).map(Scope),
    role=st.sampled_from([Role.INTERIOR, Role.DEVICE]),
    expires_ms=st.integers(0, (1 << 48) - 1),
    name=st.sampled_from(["", "clinic", "Bettnachbar / Süd?", "心臓"]),
)


@given(tokens)
def test_a_token_is_read_back_as_it_was_written(token: JoinToken) -> None:
    word = token.encode()
    assert JoinToken.decode(word) == token
    assert word.startswith("banyan-")
    assert set(word) <= set(string.ascii_letters + string.digits + "-_")


@given(tokens, st.data())
def test_any_single_changed_letter_is_refused(token: JoinToken, data: st.DataObject) -> None:
    word = token.encode()
    place = data.draw(st.integers(0, len(word) - 1))
    letter = data.draw(st.sampled_from([x for x in LETTERS if x != word[place]]))
    with pytest.raises(NodeError, match=r"^bad-token: "):
        JoinToken.decode(word[:place] + letter + word[place + 1 :])


def test_every_other_letter_at_every_place_is_refused() -> None:
    word = TOKEN.encode()
    passed = [
        (place, letter)
        for place in range(len(word))
        for letter in string.ascii_letters + string.digits + "-_"
        if letter != word[place] and _reads(word[:place] + letter + word[place + 1 :])
    ]
    assert not passed


@given(tokens, st.data())
def test_two_letters_that_changed_places_and_one_that_is_missing_are_refused(
    token: JoinToken, data: st.DataObject
) -> None:
    word = token.encode()
    place = data.draw(st.integers(0, len(word) - 2))
    swapped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    assert swapped == word or not _reads(swapped)
    assert not _reads(word[:place] + word[place + 1 :])


@given(st.text())
def test_what_is_no_token_is_one_code(text: str) -> None:
    for word in (text, f"banyan-{text}"):
        with pytest.raises(NodeError, match=r"^bad-token: "):
            JoinToken.decode(word)


def test_a_broken_line_does_not_matter() -> None:
    word = TOKEN.encode()
    assert JoinToken.decode(f" {word[:40]}\r\n  {word[40:]}\n") == TOKEN


def test_a_secret_is_not_shown() -> None:
    assert TOKEN.secret.hex() not in repr(TOKEN)
    assert repr(TOKEN.secret) not in repr(TOKEN)


def test_what_cannot_be_in_a_token_is_refused() -> None:
    for change in (
        {"role": Role.ROOT},
        {"addresses": ()},
        {"addresses": ("a:1", "a:1")},
        {"addresses": ("a:1", "b:1", "c:1", "d:1")},
        {"id": b""},
        {"secret": b"1"},
        {"expires_ms": -1},
    ):
        with pytest.raises(NodeError, match=r"^bad-token: "):
            replace(TOKEN, **change)


def test_a_token_of_a_later_version_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.peers.joining.token._VERSION", 2)
    word = TOKEN.encode()
    monkeypatch.undo()
    with pytest.raises(NodeError, match=r"^newer-token: "):
        JoinToken.decode(word)


def _reads(word: str) -> bool:
    try:
        JoinToken.decode(word)
    except NodeError:
        return False
    return True
