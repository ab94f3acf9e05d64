"""Names: scopes form a tree, digests have one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import Code, Scope, check_digest, digest_of
from tests.protocol.world import refused

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
SCOPES = st.lists(NAMES, max_size=16).map(lambda names: Scope("/" + "/".join(names)))


@given(SCOPES)
def test_a_scope_is_what_its_text_says(scope: Scope) -> None:
    assert Scope.parse(str(scope)) == scope


@given(SCOPES)
def test_a_lineage_goes_from_the_root_down_one_tier_at_a_time(scope: Scope) -> None:
    lineage = scope.lineage
    assert lineage[0] == Scope("/")
    assert lineage[-1] == scope
    assert [s.tier for s in lineage] == list(range(scope.tier + 1))
    assert [s.parent for s in lineage] == [None, *lineage[:-1]]


@given(SCOPES, SCOPES)
def test_a_scope_is_within_exactly_those_of_its_lineage(one: Scope, other: Scope) -> None:
    assert one.is_within(other) == (other in one.lineage)


def test_a_name_that_only_begins_alike_is_not_within() -> None:
    assert not Scope("/english").is_within(Scope("/en"))


def test_a_child_lies_directly_below() -> None:
    assert Scope("/").child("en").child("healthcare") == Scope("/en/healthcare")


@pytest.mark.parametrize(
    "text",
    ["", "en", "/en/", "//en", "/EN", "/en\n", "/../etc", "/é", "/-en", "/" + "a" * 65, "/a" * 17],
)
def test_a_path_that_is_not_a_scope_is_refused(text: str) -> None:
    with refused(Code.MALFORMED):
        Scope.parse(text)


@pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n"])
def test_a_digest_in_another_spelling_is_refused(text: str) -> None:
    with refused(Code.MALFORMED):
        check_digest(text)


def test_digests_are_sha_256() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest_of(b"") == empty
    assert check_digest(empty) == empty
