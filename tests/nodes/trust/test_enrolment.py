"""Claims about enrolment: what is refused, by which code, and that a refusal leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.state.home import open_home
from nodes.state.node import Node
from nodes.trust.enrolment import (
    certify,
    enrol,
    enrol_folder,
    join,
    make_request,
    read_request,
    revoke,
)
from nodes.trust.transport_keys import generate_transport_key, transport_public_pem
from protocol import NodeId, Refused, Role, Scope, SigningKey, transport_digest
from tests.nodes.network import enrol_again, make_root
from tests.protocol.world import known_key

ADDRESS = ("127.0.0.1:1",)
EN = Scope("/en")
REFUSED = (NodeError, Refused)


@pytest.fixture
def root(tmp_path: Path, base: Path) -> Iterator[Node]:
    """The node of a root without children."""
    with closing(opened(make_root(tmp_path / "root", base))) as node:
        yield node


def opened(folder: Path) -> Node:
    """A node as a process of its own opens it."""
    clock = SystemClock()
    return Node(open_home(folder, clock.now_ms()), clock)


def asked(key: SigningKey | None = None, /, **changes: str) -> bytes:
    """A request with a valid signature; ``changes`` are fields in place of valid ones."""
    key = key or SigningKey.generate()
    fields = {
        "name": "clinic",
        "scope": "/",
        "role": "device",
        "public_key": key.public.raw.hex(),
        "transport_key": public_transport().decode(),
    }
    text = json.dumps(fields | changes).encode()
    return json.dumps({"request": text.decode(), "signature": key.sign(text).hex()}).encode()


def public_transport() -> bytes:
    return transport_public_pem(generate_transport_key())


def stored(node: Node) -> tuple[int, set[Path]]:
    """What the node has on disk: its ledger's length and its artefacts."""
    files = {p for p in (node.home.folder / "artefacts").rglob("*") if p.is_file()}
    return node.ledger.verify(), files


def is_refused(node: Node, request: bytes, code: str) -> None:
    """Expect a refusal by this code that stores and records nothing."""
    before = stored(node)
    with pytest.raises(REFUSED, match=rf"^{code}: ") as refusal:
        enrol(node, request, ADDRESS)
    assert isinstance(refusal.value, REFUSED)
    assert refusal.value.sentence.endswith(".")
    assert stored(node) == before


# -- requests ----------------------------------------------------------------------------------


def _rsa() -> str:
    key = rsa.generate_private_key(65537, 2048).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.mark.parametrize(
    "transport",
    ["garbage", _rsa(), generate_transport_key().decode()],
    ids=["garbage", "RSA", "private"],
)
def test_a_transport_key_is_a_public_ec_key(root: Node, transport: str) -> None:
    is_refused(root, asked(transport_key=transport), "bad-transport-key")


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("name", "", "malformed"),
        ("name", "x" * 129, "malformed"),
        ("name", "two\nlines", "malformed"),
        ("scope", "en", "malformed"),
        ("scope", "/EN", "malformed"),
        ("role", "emperor", "bad-request"),
        ("public_key", "no hex", "bad-request"),
        ("public_key", "00" * 31, "malformed"),
        ("public_key", "01" + "00" * 31, "weak-key"),
        ("public_key", known_key(7).public.raw.hex(), "bad-signature"),
    ],
)
def test_every_field_of_a_request_is_checked(root: Node, field: str, value: str, code: str) -> None:
    is_refused(root, asked(**{field: value}), code)


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"request": 1, "signature": ""}',
        b'{"request": "{}", "signature": ""}',
        b"[" * 8000,
        b" " * 20_000,
    ],
)
def test_what_is_no_request_is_refused(root: Node, request_: bytes) -> None:
    is_refused(root, request_, "bad-request")


@pytest.mark.parametrize(
    ("scope", "role", "code"),
    [
        ("/en", "device", "wrong-place"),
        ("/en/healthcare", "interior", "wrong-place"),
        ("/", "interior", "wrong-place"),
        ("/", "root", "wrong-place"),
        ("/en", "root", "wrong-role"),
    ],
)
def test_a_request_is_for_a_place_below_the_parent(
    root: Node, scope: str, role: str, code: str
) -> None:
    is_refused(root, asked(scope=scope, role=role), code)


def test_a_transport_key_is_certified_in_its_one_form(root: Node) -> None:
    pem = public_transport()
    request = read_request(asked(transport_key=pem.decode().replace("\n", "\r\n") + "\n\n"))
    assert request.transport == pem


# -- the rules of membership -------------------------------------------------------------------


def enrolled(node: Node, **changes: str) -> NodeId:
    """Enrol a new device; returns its id."""
    request = asked(**changes)
    enrol(node, request, ADDRESS)
    return NodeId(read_request(request).key.keyid)


def test_the_parent_s_own_key_is_no_child_s(root: Node) -> None:
    is_refused(root, asked(root.home.key), "duplicate-node")


def test_the_key_of_a_node_above_is_no_child_s(root: Node, tmp_path: Path) -> None:
    home = enrol_folder(root, tmp_path / "en", "en", EN, Role.INTERIOR, ADDRESS)
    with closing(opened(home.folder)) as middle:
        is_refused(middle, asked(root.home.key, scope="/en"), "duplicate-node")


def test_the_parent_s_own_transport_key_is_no_child_s(root: Node) -> None:
    pem = root.home.certificate.transport_key.decode()
    is_refused(root, asked(transport_key=pem), "duplicate-transport-key")


@pytest.mark.parametrize("revoked", [False, True])
def test_a_copied_transport_key_is_refused(root: Node, revoked: bool) -> None:
    pem = public_transport().decode()
    owner = enrolled(root, transport_key=pem)
    if revoked:
        revoke(root, owner)
    copy = asked(name="copy", transport_key=pem.replace("\n", "\r\n"))
    is_refused(root, copy, "duplicate-transport-key")


def test_a_second_child_of_one_name_is_refused(root: Node) -> None:
    enrolled(root, name="clinic")
    is_refused(root, asked(name="clinic"), "duplicate-name")


def test_a_second_node_for_one_scope_is_refused_until_the_first_is_revoked(root: Node) -> None:
    first = enrolled(root, name="first", scope="/en", role="interior")
    second = asked(name="second", scope="/en", role="interior")
    is_refused(root, second, "scope-taken")
    revoke(root, first)
    enrol(root, second, ADDRESS)


def test_one_identity_has_one_place(root: Node) -> None:
    key = SigningKey.generate()
    enrol(root, asked(key), ADDRESS)
    is_refused(root, asked(key, scope="/en", role="interior"), "duplicate-node")


def test_a_request_that_is_enrolled_again_renews_and_pardons(root: Node) -> None:
    request = asked()
    child = NodeId(read_request(request).key.keyid)
    enrol(root, request, ADDRESS)
    enrol(root, request, ADDRESS)
    revoke(root, child)
    assert root.state.membership.is_revoked(child)
    enrol(root, request, ADDRESS)
    assert root.state.membership.active == (child,)
    assert not root.state.membership.is_revoked(child)


@pytest.mark.parametrize("revoked", [False, True])
def test_only_an_active_member_is_revoked(root: Node, revoked: bool) -> None:
    child = enrolled(root) if revoked else NodeId("0" * 64)
    if revoked:
        revoke(root, child)
    before = stored(root)
    with pytest.raises(REFUSED, match=r"^not-a-member: "):
        revoke(root, child)
    assert stored(root) == before


# -- another process ---------------------------------------------------------------------------


def test_a_parent_that_runs_knows_what_another_process_enrolled(root: Node) -> None:
    with closing(opened(root.home.folder)) as command:
        enrolled(command, name="clinic")
    with pytest.raises(REFUSED, match=r"^duplicate-name: "):
        enrol(root, asked(name="clinic"), ADDRESS)
    assert len(root.state.membership.active) == 1


def test_of_two_processes_that_enrol_one_name_at_once_one_is_refused(
    root: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(opened(root.home.folder)) as command:
        put = root.artefacts.put

        def meanwhile(data: bytes) -> str:
            monkeypatch.undo()
            enrolled(command, name="clinic")
            return put(data)

        monkeypatch.setattr(root.artefacts, "put", meanwhile)
        with pytest.raises(REFUSED, match=r"^duplicate-name: "):
            enrol(root, asked(name="clinic"), ADDRESS)
    assert len(list(root.ledger.events(["member-enrolled"]))) == 1


# -- what is recorded, now and before ----------------------------------------------------------


def test_the_ledger_names_what_the_rules_need(root: Node) -> None:
    pem = public_transport()
    child = enrolled(root, transport_key=pem.decode())
    (event,) = root.ledger.events(["member-enrolled"])
    certificate = event.body["certificate"]
    assert event.body == {
        "v": 2,
        "child": child,
        "key": child,
        "transport": transport_digest(pem),
        "epoch": 1,
        "scope": "/",
        "role": "device",
        "name": "clinic",
        "certificate": certificate,
    }
    assert root.artefacts.has(certificate)


def test_a_ledger_from_before_keys_were_recorded_is_read_by_its_certificates(root: Node) -> None:
    pem = public_transport().decode()
    enrolled(root, transport_key=pem)
    (event,) = root.ledger.events(["member-enrolled"])
    revoke(root, event.body["child"])
    old = {k: event.body[k] for k in ("child", "certificate", "name", "role", "scope")}
    root.ledger.append_all([("member-enrolled", old)])
    with closing(opened(root.home.folder)) as again:
        root.catch_up()
        for node in (root, again):
            assert node.state.membership.active == (event.body["child"],)
            is_refused(node, asked(name="copy", transport_key=pem), "duplicate-transport-key")


# -- the three steps ---------------------------------------------------------------------------


def test_a_request_enrolled_elsewhere_joins(root: Node, tmp_path: Path) -> None:
    request = make_request(tmp_path / "new", "clinic", Scope(), Role.DEVICE)
    home, address = join(tmp_path / "new", enrol(root, request, ADDRESS), SystemClock())
    assert (home.certificate.name, address) == ("clinic", ADDRESS)
    assert root.state.membership.active == (home.id,)


def test_a_name_that_no_certificate_holds_makes_no_keys(tmp_path: Path) -> None:
    with pytest.raises(REFUSED, match=r"^malformed: "):
        make_request(tmp_path / "new", "", Scope(), Role.DEVICE)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_the_parent_refuses_is_empty_again(root: Node, tmp_path: Path) -> None:
    enrolled(root, name="clinic")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "text").write_text("mine")
    for name in ("new", "kept"):
        with pytest.raises(REFUSED, match=r"^duplicate-name: "):
            enrol_folder(root, tmp_path / name, "clinic", Scope(), Role.DEVICE, ADDRESS)
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["text"]
    enrol_folder(root, tmp_path / "new", "another", Scope(), Role.DEVICE, ADDRESS)


def test_a_member_renewed_by_its_parent_keeps_its_place(root: Node) -> None:
    child = enrolled(root)
    before = root.state.membership.get(child)
    enrol_again(root, child)
    after = root.state.membership.get(child)
    assert before and after
    assert (after.key, after.transport, after.name) == (before.key, before.transport, before.name)


@pytest.mark.parametrize("change", [{"transport": b"garbage"}, {"rank": 99}, {"name": ""}])
def test_what_a_program_certifies_is_checked_alike(root: Node, change: dict[str, Any]) -> None:
    values: dict[str, Any] = {
        "name": "x",
        "scope": Scope(),
        "role": Role.DEVICE,
        "transport": public_transport(),
    }
    before = stored(root)
    with pytest.raises(REFUSED, match=r"^(bad-transport-key|wrong-mask|malformed): "):
        certify(root, SigningKey.generate().public, **(values | change))
    assert stored(root) == before
