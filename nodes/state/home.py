"""The state folder of a node: keys, certificates, the network's coordinates, ledger, artefacts.

::

    identity.pem      Ed25519 key that signs everything this node says (mode 0600)
    transport.pem     EC key with which Flower authenticates the connection (mode 0600)
    network.env       the network's statement, signed by the root
    path/00.env …     certificates from the root to this node
    layout.json       which layers an adapter covers
    basis.safetensors the fixed matrices A
    parent-ca.pem     what the parent's TLS certificate must chain to (not at a root)
    link.pem          certificate of the transport key, signed by the parent's authority
    tls/              this node's own TLS files (only if it has children)
    replay.sqlite     the replay buffer: text (mode 0600; only where there is text)
    replay.key        divides it, and must be kept with it (mode 0600)
    arrivals.sqlite   which files of the watched folder were read
    invitations.sqlite  who may join here, with secrets (mode 0600)
    joining.json      the id of the token with which this node joined, or is joining
    ledger.mark       how far the ledger came; ledger.checkpoint: what it folds to
    daemon.lock       held by the daemon while it runs
    ledger.sqlite     artefacts/    node.toml    flower/    logs/

Opening a home verifies all of it; a node never starts on a folder that does not hold together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodes.errors import NodeError
from nodes.machine.files import write_file
from nodes.model.layout import Layout
from protocol import (
    Certificate,
    Network,
    NodeId,
    Role,
    Scope,
    SigningKey,
    digest_of,
    verify_path,
)

ENDPOINT_FILE = "endpoint.json"
"""Holds the downlink's present address, for other processes of this machine."""


@dataclass(frozen=True)
class Home:
    """A verified state folder."""

    folder: Path
    key: SigningKey
    transport_pem: bytes
    network: Network
    network_envelope: bytes
    path: tuple[Certificate, ...]
    path_envelopes: tuple[bytes, ...]
    layout: Layout

    @property
    def certificate(self) -> Certificate:
        """This node's own certificate."""
        return self.path[-1]

    @property
    def id(self) -> NodeId:
        """This node's id."""
        return self.certificate.node

    @property
    def scope(self) -> Scope:
        """The scope this node owns, or below which this device hangs."""
        return self.certificate.scope

    @property
    def is_device(self) -> bool:
        """Whether this node is a device: it owns no scope and has no children."""
        return self.certificate.role is Role.DEVICE

    @property
    def parent(self) -> Certificate | None:
        """The parent's certificate; None at a root."""
        return self.path[-2] if len(self.path) > 1 else None

    @property
    def parent_ca(self) -> bytes:
        """The certificate authority of the parent's TLS address, PEM."""
        return (self.folder / "parent-ca.pem").read_bytes()

    @property
    def basis_file(self) -> Path:
        """The fixed matrices A, as shipped by the root."""
        return self.folder / "basis.safetensors"

    @property
    def ledger_file(self) -> Path:
        """The node's ledger."""
        return self.folder / "ledger.sqlite"


def open_home(folder: Path, now_ms: int | None) -> Home:
    """Read and verify a state folder.

    Args:
        now_ms: when its certificates must be valid; None to ask for their renewal.

    Raises ``NodeError`` ``no-node`` when there is none, ``broken-home`` when a file is missing or
    does not match what the network's statement says, and ``Refused`` when a signature fails.
    """
    if not (folder / "identity.pem").exists():
        raise NodeError("no-node", f"There is no node in {folder}. `banyan node enrol` makes one.")
    if not (folder / "network.env").exists():
        raise NodeError(
            "not-enrolled",
            f"The node in {folder} has keys but no certificate yet. "
            "Give its request.json to the parent's operator, then `banyan node join`; where that "
            "was begun with a token, type it once more.",
        )
    try:
        network_envelope = (folder / "network.env").read_bytes()
        envelopes = tuple(p.read_bytes() for p in sorted((folder / "path").glob("*.env")))
        layout = Layout.from_json((folder / "layout.json").read_text("utf-8"))
        transport = (folder / "transport.pem").read_bytes()
        basis = digest_of((folder / "basis.safetensors").read_bytes())
    except (OSError, ValueError, KeyError) as error:
        raise NodeError("broken-home", f"{folder} is incomplete or damaged: {error}.") from None
    network, path = verify_path(network_envelope, envelopes, now_ms=now_ms)
    key = SigningKey.load(folder / "identity.pem")
    if key.public.raw != path[-1].public_key:
        raise NodeError("broken-home", f"The key in {folder} is not the one in its certificate.")
    if layout.digest != network.layout or basis != network.basis:
        raise NodeError("broken-home", f"The layout or the basis in {folder} is not the network's.")
    return Home(folder, key, transport, network, network_envelope, path, envelopes, layout)


def write_home(
    folder: Path,
    *,
    network_envelope: bytes,
    path_envelopes: Sequence[bytes],
    layout: str,
    basis: bytes,
    parent_ca: bytes | None,
) -> None:
    """Write what a certificate brings into a folder that already holds the node's keys.

    ``network.env`` is written last: a folder that was interrupted counts as not enrolled.
    """
    (folder / "path").mkdir(parents=True, exist_ok=True)
    for i, envelope in enumerate(path_envelopes):
        write_file(folder / "path" / f"{i:02}.env", envelope)
    write_file(folder / "layout.json", layout.encode())
    write_file(folder / "basis.safetensors", basis)
    if parent_ca is not None:
        write_file(folder / "parent-ca.pem", parent_ca)
    write_file(folder / "network.env", network_envelope)
