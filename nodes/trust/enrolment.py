"""Making members: a person decides once who may say what, and ``protocol.Membership`` checks it.

Three steps, so that no private key ever travels:

1. the new node makes its keys and a **request**: its public keys, and what it wants to be;
2. the parent's operator signs a certificate and gets a **bundle**: the network's statement, the
   certificates from the root, the coordinates, and how to reach the parent;
3. the new node verifies the bundle and **joins**.

On one machine ``enrol_folder`` does all three.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodes.config.addresses import distinct
from nodes.config.reach import ParentAddresses
from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.machine.files import nothing_left, write_file
from nodes.model.layout import Layout
from nodes.state.events import (
    LedgerEvent,
    MemberEnrolled,
    MemberResumed,
    MemberRevoked,
    MemberSuspended,
)
from nodes.state.home import Home, open_home, write_home
from nodes.state.node import Node
from nodes.trust.bundle import Bundle
from nodes.trust.network import first_certificate, make_keys
from nodes.trust.tls import authority_pem, make_tls
from nodes.trust.transport_keys import canonical_pem, transport_public_pem
from protocol import (
    Certificate,
    Member,
    NodeId,
    PublicKey,
    Role,
    Scope,
    SigningKey,
    check_certificate,
    check_label,
    digest_of,
    seal,
    verify_path,
)

MAX_REQUEST_BYTES = 16 * 1024


@dataclass(frozen=True)
class MembershipRequest:
    """What a new node asks for; its signature was verified.

    Attributes:
        transport: its public transport key, in the one PEM form of that key.
    """

    key: PublicKey
    transport: bytes
    name: str
    scope: Scope
    role: Role


def make_request(folder: Path, name: str, scope: Scope, role: Role) -> bytes:
    """Make a new node's keys in ``folder`` and what it asks its parent's operator to sign.

    The request is signed with the new key, which shows that whoever asks holds it. Raises
    ``NodeError`` ``exists``, ``Refused`` ``malformed`` for a name that no certificate may hold.
    """
    check_label(name)
    with nothing_left(folder):
        make_keys(folder)
        return write_request(folder, name, scope, role)


def write_request(folder: Path, name: str, scope: Scope, role: Role) -> bytes:
    """Write what the node whose keys are in ``folder`` asks for; returns the request.

    Raises as ``make_request`` does, but not ``exists``.
    """
    key = SigningKey.load(folder / "identity.pem")
    fields = {
        "name": check_label(name),
        "scope": str(scope),
        "role": role.value,
        "public_key": key.public.raw.hex(),
        "transport_key": transport_public_pem((folder / "transport.pem").read_bytes()).decode(),
    }
    text = json.dumps(fields, sort_keys=True).encode()
    request = json.dumps({"request": text.decode(), "signature": key.sign(text).hex()}).encode()
    write_file(folder / "request.json", request)
    return request


def enrol(
    parent: Node,
    request: bytes,
    addresses: Sequence[str],
    *,
    doors: Sequence[str] = (),
    rank: int | None = None,
) -> bytes:
    """Sign a certificate for a request and record the new member; returns the bundle.

    Args:
        addresses: where the new member reaches its parent, ``host:port``, the best first.
        doors: where the parent answers whoever joins or renews.

    Raises ``NodeError`` ``bad-request`` for what is no request, ``Refused`` for a request with a
    field that does not hold (``malformed``, ``weak-key``, ``bad-signature``,
    ``bad-transport-key``), ``NodeError`` ``bad-address``, and what ``certify`` raises; then nothing
    was recorded.
    """
    reached = distinct(addresses)
    asked = read_request(request)
    home = parent.home
    layout = (home.folder / "layout.json").read_text("utf-8")
    basis = home.basis_file.read_bytes()
    authority = authority_pem(home.folder / "tls", home.key)
    sealed = certify_request(parent, asked, rank)
    path = (*home.path_envelopes, sealed)
    bundle = Bundle(home.network_envelope, path, layout, basis, reached, authority, distinct(doors))
    return bundle.encode()


def certify(
    parent: Node,
    key: PublicKey,
    *,
    name: str,
    scope: Scope,
    role: Role,
    transport: bytes,
    rank: int | None = None,
) -> bytes:
    """Sign a certificate and record the member; returns the certificate's envelope.

    A node that is a member already is renewed; one that was revoked or quarantined is pardoned. One
    that is suspended is refused: ``resume`` lets it go on.

    Args:
        transport: the node's public transport key, PEM.

    Raises ``NodeError`` ``wrong-place`` when this node is not the parent of the scope asked for,
    ``Refused`` ``bad-transport-key`` and what ``check_certificate`` and ``Membership.check``
    refuse. Then nothing was stored or recorded.
    """
    certificate = _certificate(parent, key, name, scope, role, transport, rank)
    sealed = seal(certificate, parent.home.key).encode()
    member = Member.of(certificate, digest_of(sealed))

    def build() -> list[LedgerEvent]:
        parent.state.membership.check(member)
        parent.artefacts.put(sealed)
        return [MemberEnrolled.from_member(member)]

    parent.transact(build)
    return sealed


def certify_request(parent: Node, asked: MembershipRequest, rank: int | None = None) -> bytes:
    """Sign what a request asks for and record the member; returns and raises as ``certify``."""
    return certify(
        parent,
        asked.key,
        name=asked.name,
        scope=asked.scope,
        role=asked.role,
        transport=asked.transport,
        rank=rank,
    )


def check_request(parent: Node, asked: MembershipRequest, rank: int | None = None) -> None:
    """Check that ``certify_request`` would sign this now; sign and record nothing.

    Raises the same.
    """
    certificate = _certificate(
        parent, asked.key, asked.name, asked.scope, asked.role, asked.transport, rank
    )
    with parent.lock:
        parent.catch_up()
        parent.state.membership.check(Member.of(certificate, digest_of(b"")))


def _certificate(
    parent: Node,
    key: PublicKey,
    name: str,
    scope: Scope,
    role: Role,
    transport: bytes,
    rank: int | None,
) -> Certificate:
    """Write the certificate of a child, checked but for the rules of membership; not signed."""
    home = parent.home
    require_place(home, scope, role)
    certificate = first_certificate(
        home.network,
        key,
        name=name,
        scope=scope,
        role=role,
        parent=home.id,
        parent_scope=home.scope,
        transport=canonical_pem(transport),
        now_ms=parent.clock.now_ms(),
        rank=rank,
    )
    check_certificate(certificate, home.network, home.certificate)
    return certificate


def require_place(home: Home, scope: Scope, role: Role) -> None:
    """Check that a node is the one at which a child of this scope and role enrols.

    Raises ``NodeError`` ``wrong-place``.
    """
    place = scope if role is Role.DEVICE else scope.parent
    if home.is_device or place != home.scope:
        raise NodeError(
            "wrong-place",
            f"A {role} for {scope} enrols at the node of {place}, not at {home.scope} "
            f"({home.certificate.role}).",
        )


def revoke(parent: Node, child: NodeId) -> None:
    """Take a child's membership back: it is heard no more, and its waiting update is dropped.

    What it added to releases stays there (``withdraw`` takes that out). To enrol it once more
    pardons it. Raises ``Refused`` ``not-a-member`` when it is none or none any more.
    """

    def build() -> list[LedgerEvent]:
        parent.state.membership.check_revocation(child)
        return [MemberRevoked(child=child)]

    parent.transact(build)


def suspend(parent: Node, child: NodeId) -> None:
    """Pause a child's membership: it is heard no more, and its waiting update is dropped.

    It keeps its name, its scope and what counts against it, until ``resume`` lets it go on. Raises
    ``Refused`` ``not-a-member``, or ``suspended`` when it is that already.
    """

    def build() -> list[LedgerEvent]:
        parent.state.membership.check_suspension(child)
        return [MemberSuspended(child=child)]

    parent.transact(build)


def resume(parent: Node, child: NodeId) -> None:
    """Let a suspended child go on; nothing is pardoned.

    Raises ``Refused`` ``not-a-member``, or ``not-suspended``.
    """

    def build() -> list[LedgerEvent]:
        parent.state.membership.check_resumption(child)
        return [MemberResumed(child=child)]

    parent.transact(build)


def join(folder: Path, bundle: bytes, clock: Clock) -> tuple[Home, tuple[str, ...]]:
    """Verify a bundle and become a member; returns the home and the parent's addresses.

    Raises ``NodeError`` ``bad-bundle`` and whatever the certificates are ``Refused`` for.
    """
    parts = Bundle.decode(bundle)
    network, certificates = verify_path(parts.network, parts.path, now_ms=clock.now_ms())
    key = SigningKey.load(folder / "identity.pem")
    if certificates[-1].public_key != key.public.raw:
        raise NodeError("bad-bundle", "The bundle was made for another node's request.")
    if digest_of(parts.basis) != network.basis:
        raise NodeError("bad-bundle", "The basis in the bundle is not the network's.")
    if _layout_digest(parts.layout) != network.layout:
        raise NodeError("bad-bundle", "The layout in the bundle is not the network's.")
    with nothing_left(folder):
        write_home(
            folder,
            network_envelope=parts.network,
            path_envelopes=parts.path,
            layout=parts.layout,
            basis=parts.basis,
            parent_ca=parts.authority,
        )
        if certificates[-1].role is not Role.DEVICE:
            make_tls(folder / "tls", identity=key)
        home = open_home(folder, clock.now_ms())
        ParentAddresses(home, parts.addresses).tell(parts.addresses, doors=parts.doors)
        return home, parts.addresses


def _layout_digest(text: str) -> str:
    try:
        return Layout.from_json(text).digest
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NodeError("bad-bundle", f"The layout in the bundle is damaged: {error}.") from None


def enrol_folder(
    parent: Node,
    folder: Path,
    name: str,
    scope: Scope,
    role: Role,
    addresses: Sequence[str],
    doors: Sequence[str] = (),
) -> Home:
    """Make a member in ``folder`` on the parent's own machine: request, enrol and join.

    Raises what those raise; then nothing of it is left in the folder.
    """
    with nothing_left(folder):
        request = make_request(folder, name, scope, role)
        return join(folder, enrol(parent, request, addresses, doors=doors), parent.clock)[0]


def read_request(request: bytes) -> MembershipRequest:
    """Parse a request and verify that whoever asks holds its key.

    Raises ``NodeError`` ``bad-request`` for what is no request, ``Refused`` ``malformed``,
    ``weak-key``, ``bad-signature`` or ``bad-transport-key`` for a field that does not hold.
    """
    if len(request) > MAX_REQUEST_BYTES:
        raise NodeError("bad-request", f"A request has at most {MAX_REQUEST_BYTES} bytes.")
    try:
        outer = json.loads(request)
        text, signature = outer["request"].encode(), bytes.fromhex(outer["signature"])
        fields = json.loads(text)
        wanted = ("name", "scope", "role", "public_key", "transport_key")
        if not all(isinstance(fields[field], str) for field in wanted):
            raise TypeError("every field must be text")
        raw, transport = bytes.fromhex(fields["public_key"]), fields["transport_key"].encode()
        role = Role(fields["role"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NodeError("bad-request", f"This is not a node's request: {error}.") from None
    key = PublicKey.from_raw(raw)
    key.verify(signature, text)
    return MembershipRequest(
        key=key,
        transport=canonical_pem(transport),
        name=check_label(fields["name"]),
        scope=Scope.parse(fields["scope"]),
        role=role,
    )
