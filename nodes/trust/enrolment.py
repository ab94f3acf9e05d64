"""Making networks and members: who may say what is decided here, by a person, once.

Three steps, so that no private key ever travels:

1. the new node makes its keys and a **request**: its public keys, and what it wants to be;
2. the parent's operator signs a certificate and gets a **bundle**: the network's statement, the
   certificates from the root, the coordinates, and how to reach the parent;
3. the new node verifies the bundle and **joins**.

On one machine ``banyan node enrol`` does all three.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.machine.files import write_file
from nodes.model.coordinates import Coordinates
from nodes.state.events import LedgerEvent, MemberEnrolled, MemberRevoked
from nodes.state.home import Home, open_home, write_home
from nodes.state.node import Node
from nodes.trust.tls import make_tls
from nodes.trust.transport_keys import generate_transport_key, transport_public_pem
from protocol import (
    Certificate,
    Network,
    NodeId,
    PublicKey,
    Role,
    Scope,
    SigningKey,
    digest_of,
    seal,
    verify_path,
)

YEAR_MS = 365 * 24 * 3600 * 1000
MAX_REQUEST_BYTES = 16 * 1024
MAX_BUNDLE_BYTES = 256 * 1024 * 1024
_BUNDLE_PARTS = re.compile(
    r"network\.env|path/\d\d\.env|layout\.json|basis\.safetensors|link\.json"
)


def init_network(folder: Path, name: str, coordinates: Coordinates, clock: Clock) -> Home:
    """Make a network and its root node in ``folder``.

    Raises ``NodeError`` ``exists`` when there is a node in the folder already.
    """
    key, transport = _make_keys(folder)
    now = clock.now_ms()
    network, certificate = found(name, coordinates, key, transport, now)
    write_home(
        folder,
        network_envelope=seal(network, key).encode(),
        path_envelopes=[seal(certificate, key).encode()],
        layout=coordinates.layout,
        basis=coordinates.basis,
        parent_ca=None,
    )
    make_tls(folder / "tls")
    return open_home(folder, now)


def found(
    name: str, coordinates: Coordinates, key: SigningKey, transport: bytes, now_ms: int
) -> tuple[Network, Certificate]:
    """What a new network's root states of the network and of itself; neither is signed yet."""
    node = NodeId(key.public.keyid)
    network = Network(
        name=name,
        network=digest_of(key.public.raw + coordinates.basis),
        base=coordinates.base,
        tokenizer=coordinates.tokenizer,
        basis=digest_of(coordinates.basis),
        layout=coordinates.layout_digest,
        rank=coordinates.rank,
        targets=coordinates.targets,
        root=node,
        root_key=key.public.raw,
        created_ms=now_ms,
    )
    root = _certificate(
        network, Role.ROOT, node, key.public, Scope(), node, Scope(), transport, name, now_ms
    )
    return network, root


def make_request(folder: Path, name: str, scope: Scope, role: Role) -> bytes:
    """Make a new node's keys in ``folder`` and what it asks its parent's operator to sign.

    The request is signed with the new key, which shows that whoever asks holds it.
    """
    key, transport = _make_keys(folder)
    asked = {
        "name": name,
        "scope": str(scope),
        "role": role.value,
        "public_key": key.public.raw.hex(),
        "transport_key": transport.decode(),
    }
    text = json.dumps(asked, sort_keys=True).encode()
    request = json.dumps({"request": text.decode(), "signature": key.sign(text).hex()}).encode()
    write_file(folder / "request.json", request)
    return request


def enrol(parent: Node, request: bytes, address: str, *, rank: int | None = None) -> bytes:
    """Sign a certificate for a request and record the new member; returns the bundle.

    Raises ``NodeError`` ``bad-request`` when the request does not hold together, ``wrong-place``
    when this node is not the parent of the scope asked for.
    """
    asked = _read_request(request)
    home = parent.home
    sealed = certify(
        parent,
        PublicKey.from_raw(bytes.fromhex(asked["public_key"])),
        name=asked["name"],
        scope=Scope.parse(asked["scope"]),
        role=Role(asked["role"]),
        transport=asked["transport_key"].encode(),
        rank=rank,
    )
    parts = {
        "network.env": home.network_envelope,
        "layout.json": (home.folder / "layout.json").read_bytes(),
        "basis.safetensors": home.basis_file.read_bytes(),
        "link.json": json.dumps(
            {"address": address, "ca": (home.folder / "tls" / "ca.pem").read_text("ascii")}
        ).encode(),
    }
    for i, envelope in enumerate((*home.path_envelopes, sealed)):
        parts[f"path/{i:02}.env"] = envelope
    return _zip(parts)


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
    """Sign a certificate and record the new member; returns the certificate's envelope.

    Raises ``NodeError`` ``wrong-place`` when this node is not the parent of the scope asked for.
    """
    home = parent.home
    at = scope if role is Role.DEVICE else scope.parent
    if home.is_device or at != home.scope:
        raise NodeError(
            "wrong-place",
            f"A {role} for {scope} enrols at the node of {at}, not at {home.scope} "
            f"({home.certificate.role}).",
        )
    certificate = _certificate(
        home.network,
        role,
        NodeId(key.keyid),
        key,
        scope,
        home.node,
        home.scope,
        transport,
        name,
        parent.clock.now_ms(),
        rank=rank,
    )
    sealed = seal(certificate, home.key).encode()
    parent.record(
        MemberEnrolled(
            child=certificate.node,
            certificate=parent.artefacts.put(sealed),
            name=certificate.name,
            role=role,
            scope=str(scope),
        )
    )
    return sealed


def revoke(parent: Node, child: NodeId) -> None:
    """Take a child's membership back: it is heard no more, and its waiting update is dropped.

    What it added to releases stays there (``withdraw`` takes that out). To enrol it once more
    pardons it. Raises ``NodeError`` ``not-a-member`` when it is none or none any more.
    """

    def build() -> list[LedgerEvent]:
        if child not in parent.active_members():
            raise NodeError(
                "not-a-member", f"{child[:12]}… is no member of {parent.home.scope} any more."
            )
        return [MemberRevoked(child=child)]

    parent.transact(build)


def join(folder: Path, bundle: bytes, clock: Clock) -> tuple[Home, str]:
    """Verify a bundle and become a member; returns the home and the parent's address.

    Raises ``NodeError`` ``bad-bundle`` and whatever the certificates are ``Refused`` for.
    """
    parts = _unzip(bundle)
    try:
        link = json.loads(parts["link.json"])
        address, authority = str(link["address"]), str(link["ca"]).encode("ascii")
        path = [parts[name] for name in sorted(parts) if name.startswith("path/")]
        network, certificates = verify_path(parts["network.env"], path, now_ms=clock.now_ms())
        layout, basis = parts["layout.json"].decode("utf-8"), parts["basis.safetensors"]
    except (KeyError, ValueError) as error:
        raise NodeError("bad-bundle", f"The bundle is damaged: {error}.") from None
    key = SigningKey.load(folder / "identity.pem")
    if certificates[-1].public_key != key.public.raw:
        raise NodeError("bad-bundle", "The bundle was made for another node's request.")
    if digest_of(basis) != network.basis:
        raise NodeError("bad-bundle", "The basis in the bundle is not the network's.")
    write_home(
        folder,
        network_envelope=parts["network.env"],
        path_envelopes=path,
        layout=layout,
        basis=basis,
        parent_ca=authority,
    )
    if certificates[-1].role is not Role.DEVICE:
        make_tls(folder / "tls")
    return open_home(folder, clock.now_ms()), address


def _make_keys(folder: Path) -> tuple[SigningKey, bytes]:
    """New keys; returns the identity and the public transport key, PEM."""
    if (folder / "identity.pem").exists():
        raise NodeError("exists", f"There is a node in {folder} already; choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    transport = generate_transport_key()
    write_file(folder / "transport.pem", transport, 0o600)
    key = SigningKey.generate()
    key.save(folder / "identity.pem")
    return key, transport_public_pem(transport)


def _certificate(
    network: Network,
    role: Role,
    node: NodeId,
    key: PublicKey,
    scope: Scope,
    parent: NodeId,
    parent_scope: Scope,
    transport: bytes,
    name: str,
    now: int,
    *,
    rank: int | None = None,
) -> Certificate:
    return Certificate(
        network=network.network,
        node=node,
        public_key=key.raw,
        key_epoch=1,
        scope=scope,
        role=role,
        parent=parent,
        parent_scope=parent_scope,
        mask_rank=network.rank if rank is None else rank,
        quota=1.0,
        transport_key=transport,
        valid_from_ms=now,
        valid_until_ms=now + YEAR_MS,
        name=name,
    )


def _read_request(request: bytes) -> dict[str, Any]:
    if len(request) > MAX_REQUEST_BYTES:
        raise NodeError("bad-request", f"A request has at most {MAX_REQUEST_BYTES} bytes.")
    try:
        outer = json.loads(request)
        text = outer["request"].encode()
        asked: dict[str, Any] = json.loads(text)
        wanted = ("name", "scope", "role", "public_key", "transport_key")
        if not all(isinstance(asked[field], str) for field in wanted):
            raise TypeError("every field must be text")
        key = PublicKey.from_raw(bytes.fromhex(asked["public_key"]))
        key.verify(bytes.fromhex(outer["signature"]), text)
        Role(asked["role"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NodeError("bad-request", f"This is not a node's request: {error}.") from None
    return asked


def _zip(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _unzip(bundle: bytes) -> dict[str, bytes]:
    """The parts of a bundle: only names that a bundle has, stored, and of bounded size."""
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            entries = archive.infolist()
            if any(not _BUNDLE_PARTS.fullmatch(entry.filename) for entry in entries):
                raise NodeError("bad-bundle", "The bundle holds files that do not belong there.")
            if sum(entry.file_size for entry in entries) > MAX_BUNDLE_BYTES:
                raise NodeError("bad-bundle", f"The bundle has over {MAX_BUNDLE_BYTES} bytes.")
            return {entry.filename: archive.read(entry) for entry in entries}
    except zipfile.BadZipFile as error:
        raise NodeError("bad-bundle", f"This is not a bundle: {error}.") from None
