"""Statements: they come back as they were said, and only valid ones exist."""

import math
from dataclasses import fields, replace
from typing import Any

import pytest

from protocol import (
    Certificate,
    ChainEntry,
    Code,
    Digest,
    PayloadFormat,
    ProbeLoss,
    Release,
    ReleaseKind,
    Role,
    Scope,
    Snapshot,
    Span,
    Statement,
    Verdict,
    VerdictKind,
    banyan_pb2,
    chain_digest,
)
from protocol.statements.base import Part
from tests.protocol.world import (
    ABSTENTION,
    ALICE,
    BOB,
    NETWORK,
    NOW,
    PARENT,
    ROOT,
    TASK,
    UPDATE,
    named,
    refused,
)

VERDICTS = (
    Verdict(
        node=ALICE.node,
        update=named("update"),
        verdict=VerdictKind.ACCEPTED,
        code="",
        share=0.75,
    ),
    Verdict(
        node=BOB.node, update=Digest(""), verdict=VerdictKind.REFUSED, code="not-finite", share=0.0
    ),
)
RELEASE = Release(
    network=NETWORK.network,
    node=PARENT.node,
    scope=PARENT.scope,
    version=8,
    adapter=named("adapter"),
    length=1000,
    dtype="float32",
    ancestors=chain_digest([named("root release")]),
    previous=named("first release"),
    kind=ReleaseKind.ROUND,
    round=7,
    step=0.5,
    verdicts=VERDICTS,
    losses=(ProbeLoss(source="general", before=4.2, after=3.9, count=256),),
    issued_ms=NOW,
    undone=(Span(after=2, until=4), Span(after=6, until=7)),
    rehearsal=named("rehearsal"),
)
ENTRIES = tuple(
    ChainEntry(
        scope=owner.scope,
        node=owner.node,
        version=3,
        release=named(f"release {owner.name}"),
        adapter=named(f"adapter {owner.name}"),
        length=1000,
    )
    for owner in (ROOT, PARENT)
)
SNAPSHOT = Snapshot(
    network=NETWORK.network,
    node=PARENT.node,
    sequence=5,
    chain=ENTRIES,
    revoked=(BOB.node,),
    issued_ms=NOW,
    expires_ms=NOW + 1000,
)
STATEMENTS: tuple[Statement, ...] = (
    NETWORK,
    ALICE,
    TASK,
    UPDATE,
    ABSTENTION,
    RELEASE,
    SNAPSHOT,
)
PARTS: tuple[Part, ...] = (
    *STATEMENTS,
    VERDICTS[0],
    RELEASE.losses[0],
    RELEASE.undone[0],
    ENTRIES[0],
)


def of_type(part: Part) -> str:
    return type(part).__name__


@pytest.mark.parametrize("statement", STATEMENTS, ids=of_type)
def test_a_statement_comes_back_as_it_was_said(statement: Statement) -> None:
    assert type(statement).from_bytes(statement.to_bytes()) == statement


def test_every_kind_has_a_payload_type_of_its_own() -> None:
    assert len({s.PAYLOAD_TYPE for s in STATEMENTS}) == len(STATEMENTS)
    assert NETWORK.PAYLOAD_TYPE == "application/vnd.banyan.network.v1+protobuf"


@pytest.mark.parametrize("part", PARTS, ids=of_type)
def test_the_wire_has_the_fields_of_the_value(part: Part) -> None:
    on_the_wire = set(part.MESSAGE.DESCRIPTOR.fields_by_name)
    assert on_the_wire == {field.name for field in fields(part)}  # type: ignore[arg-type]


@pytest.mark.parametrize("statement", STATEMENTS, ids=of_type)
def test_an_unknown_field_is_refused(statement: Statement) -> None:
    with refused(Code.MALFORMED):
        type(statement).from_bytes(statement.to_bytes() + b"\xfa\x3f\x01x")


def test_an_unknown_field_deep_inside_is_refused() -> None:
    message = banyan_pb2.Release.FromString(RELEASE.to_bytes())
    message.verdicts[0].MergeFromString(b"\xfa\x3f\x01x")
    with refused(Code.MALFORMED):
        Release.from_bytes(message.SerializeToString())


@pytest.mark.parametrize("statement", STATEMENTS, ids=of_type)
def test_nothing_is_not_a_statement(statement: Statement) -> None:
    with refused(Code.MALFORMED):
        type(statement).from_bytes(b"")


@pytest.mark.parametrize("statement", STATEMENTS, ids=of_type)
def test_a_cut_statement_is_refused(statement: Statement) -> None:
    with refused(Code.MALFORMED):
        type(statement).from_bytes(statement.to_bytes()[:-1])


@pytest.mark.parametrize("number", [0, 99, -1])
def test_an_enum_value_that_is_not_known_is_refused(number: int) -> None:
    message = banyan_pb2.Certificate.FromString(ALICE.to_bytes())
    message.role = number  # type: ignore[assignment]
    with refused(Code.MALFORMED):
        Certificate.from_bytes(message.SerializeToString())


BAD_FIELDS: list[tuple[Part, str, list[Any]]] = [
    (NETWORK, "name", ["", "a" * 129, "two\nlines", "\x1b[31mred", 7]),
    (NETWORK, "network", ["", "0" * 63, "A" * 64, b"\0" * 32]),
    (NETWORK, "rank", [0, 4097, 1.0, True]),
    (NETWORK, "targets", [(), ("",), ("q", "q"), ["q"], ("q proj",), ("q",) * 65]),
    (NETWORK, "root_key", [b"", b"\0" * 31, "0" * 32]),
    (NETWORK, "created_ms", [-1, 2**53]),
    (ALICE, "scope", ["/en", "", None]),
    (ALICE, "role", ["device", 1, PayloadFormat.INT8]),
    (ALICE, "quota", [-0.1, 1.1, math.nan, math.inf, "1"]),
    (ALICE, "key_epoch", [0, 2**31]),
    (ALICE, "transport_key", [b"", b"\0" * 1025]),
    (ALICE, "valid_until_ms", [ALICE.valid_from_ms]),
    (TASK, "nonce", [b"", b"\0" * 31, b"\0" * 33]),
    (TASK, "task", ["", "UPPER", "a b", "../x", "a" * 129]),
    (TASK, "deadline_ms", [TASK.issued_ms + 8 * 86_400_000]),
    (UPDATE, "length", [0, -1, 2**40]),
    (UPDATE, "samples", [-1, 2**53]),
    (UPDATE, "expires_ms", [UPDATE.issued_ms - 1]),
    (ABSTENTION, "reason", ["", "No data", "a" * 65]),
    (ABSTENTION, "retry", [0, 1, None]),
    (ABSTENTION, "missing", [(named("x"),) * 2, ("",), (named("x"), "y")]),
    (RELEASE, "dtype", ["float16", ""]),
    (RELEASE, "step", [-1.0, math.nan]),
    (RELEASE, "previous", ["", "x"]),
    (RELEASE, "verdicts", [ENTRIES, (VERDICTS[0],) * 4097]),
    (VERDICTS[0], "share", [-0.5, 1.5, math.nan]),
    (RELEASE.losses[0], "after", [math.nan, math.inf]),
    (SNAPSHOT, "chain", [(), ENTRIES[:1], ENTRIES[1:], ENTRIES[::-1], ENTRIES * 2]),
    (SNAPSHOT, "node", [ROOT.node]),
    (SNAPSHOT, "expires_ms", [SNAPSHOT.issued_ms - 1]),
]


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [(part, name, value) for part, name, values in BAD_FIELDS for value in values],
    ids=lambda value: of_type(value) if isinstance(value, Part) else str(value)[:20],
)
def test_a_statement_that_is_not_valid_does_not_exist(part: Any, name: str, value: Any) -> None:
    with refused(Code.MALFORMED):
        replace(part, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", b"\0" * 31),
        ("node", b""),
        ("scope", "en"),
        ("scope", "/en/"),
        ("public_key", b"\0" * 33),
        ("name", ""),
        ("name", "\u202egnp.exe"),
        ("quota", math.nan),
        ("key_epoch", 0),
    ],
)
def test_a_bad_field_on_the_wire_is_refused_by_name(name: str, value: object) -> None:
    message = banyan_pb2.Certificate.FromString(ALICE.to_bytes())
    setattr(message, name, value)
    with refused(Code.MALFORMED) as raised:
        Certificate.from_bytes(message.SerializeToString())
    assert f"Certificate: field {name} " in raised.value.sentence


def test_the_first_version_has_no_release_before_it() -> None:
    first = replace(RELEASE, version=1, previous=Digest(""), kind=ReleaseKind.INITIAL, undone=())
    assert Release.from_bytes(first.to_bytes()) == first


@pytest.mark.parametrize("spans", [((2, 8),), ((2, 5), (4, 6)), ((2, 4), (4, 6)), ((5, 6), (2, 3))])
def test_a_release_undoes_versions_before_it_in_spans_apart(
    spans: tuple[tuple[int, int], ...],
) -> None:
    with refused(Code.MALFORMED):
        replace(RELEASE, undone=tuple(Span(after=a, until=u) for a, u in spans))


def test_a_span_holds_the_versions_above_its_first_bound() -> None:
    span = Span(after=2, until=4)
    assert [v for v in range(1, 7) if v in span] == [3, 4]
    with refused(Code.MALFORMED):
        Span(after=3, until=3)


def test_a_chain_digest_tells_orders_and_lengths_apart() -> None:
    one, two = named("one"), named("two")
    chains: tuple[list[Digest], ...] = ([], [one], [two], [one, two], [two, one], [one, one])
    assert len({chain_digest(chain) for chain in chains}) == len(chains)


def test_a_chain_digest_takes_digests_only() -> None:
    with refused(Code.MALFORMED):
        chain_digest([named("one"), "two"])  # type: ignore[list-item]


def test_roles_on_the_wire_keep_their_numbers() -> None:
    assert {role: banyan_pb2.Role.Value(f"ROLE_{role.name}") for role in Role} == {
        Role.DEVICE: 1,
        Role.INTERIOR: 2,
        Role.ROOT: 3,
    }


def test_scopes_travel_as_their_path() -> None:
    assert banyan_pb2.Certificate.FromString(ALICE.to_bytes()).scope == str(Scope("/en"))
