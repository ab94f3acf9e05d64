"""Making a network: its statement, its root node, and the keys and certificates of any node."""

from __future__ import annotations

from pathlib import Path

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.machine.files import nothing_left, write_file
from nodes.model.coordinates import Coordinates
from nodes.state.home import Home, open_home, write_home
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
)

MEMBERSHIP_MS = 90 * 24 * 3600 * 1000
"""How long a certificate is valid; it is renewed when half of that is over."""
BACKDATED_MS = 24 * 3600 * 1000
"""A node whose clock is behind must not refuse a certificate that is new."""


def init_network(folder: Path, name: str, coordinates: Coordinates, clock: Clock) -> Home:
    """Make a network and its root node in ``folder``.

    Raises ``NodeError`` ``exists`` when there is a node in the folder already. What fails leaves
    nothing behind.
    """
    with nothing_left(folder):
        key, transport = make_keys(folder)
        now = clock.now_ms()
        network, certificate = found_network(name, coordinates, key, transport, now)
        write_home(
            folder,
            network_envelope=seal(network, key).encode(),
            path_envelopes=[seal(certificate, key).encode()],
            layout=coordinates.layout,
            basis=coordinates.basis,
            parent_ca=None,
        )
        make_tls(folder / "tls", identity=key)
        return open_home(folder, now)


def found_network(
    name: str, coordinates: Coordinates, key: SigningKey, transport: bytes, now_ms: int
) -> tuple[Network, Certificate]:
    """Write what a new network's root states of the network and of itself; neither is signed yet.

    Args:
        transport: the root's public transport key, PEM.
    """
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
    root = first_certificate(
        network,
        key.public,
        name=name,
        scope=Scope(),
        role=Role.ROOT,
        parent=node,
        parent_scope=Scope(),
        transport=transport,
        now_ms=now_ms,
    )
    return network, root


def first_certificate(
    network: Network,
    key: PublicKey,
    *,
    name: str,
    scope: Scope,
    role: Role,
    parent: NodeId,
    parent_scope: Scope,
    transport: bytes,
    now_ms: int,
    rank: int | None = None,
) -> Certificate:
    """Write the certificate of a node at key epoch 1; it is not signed yet.

    Args:
        transport: the node's public transport key, PEM.
        rank: r, how many rows of the basis it trains; by default all.

    Raises ``Refused`` ``malformed`` for a field that no certificate may hold.
    """
    return Certificate(
        network=network.network,
        node=NodeId(key.keyid),
        public_key=key.raw,
        key_epoch=1,
        scope=scope,
        role=role,
        parent=parent,
        parent_scope=parent_scope,
        mask_rank=network.rank if rank is None else rank,
        quota=1.0,
        transport_key=transport,
        valid_from_ms=now_ms - BACKDATED_MS,
        valid_until_ms=now_ms + MEMBERSHIP_MS,
        name=name,
    )


def make_keys(folder: Path) -> tuple[SigningKey, bytes]:
    """Make a node's keys in ``folder``; returns its identity and its public transport key, PEM.

    Raises ``NodeError`` ``exists`` when there is a node in the folder already.
    """
    if (folder / "identity.pem").exists():
        raise NodeError("exists", f"There is a node in {folder} already; choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NodeError("exists", f"{folder} is a file; choose another name.") from None
    transport = generate_transport_key()
    write_file(folder / "transport.pem", transport, 0o600)
    key = SigningKey.generate()
    key.save(folder / "identity.pem")
    return key, transport_public_pem(transport)
