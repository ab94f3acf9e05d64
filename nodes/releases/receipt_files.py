"""A folder of receipts that anybody can check who has the network's digest.

It holds the network's statement, the certificates from the root to the child, and for each update
the receipt and the release that it is bound to, as they were signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nodes.errors import NodeError
from nodes.machine.files import nothing_left, write_file
from nodes.releases.receipt_proof import Proof, prove_anywhere
from nodes.state.home import Home
from nodes.state.interfaces import Artefacts
from nodes.state.node_state import NodeState
from nodes.state.records import ZERO
from protocol import LIMITS, Certificate, Digest, Envelope, Refused, verify_network

MOST_FILES = 4096
_RECEIPT = re.compile(r"([0-9a-f]{64})\.receipt\.env")


@dataclass(frozen=True)
class Checked:
    """What was found of one receipt in a folder.

    ``refused`` says why it proves nothing; then ``proof`` is None.
    """

    update: Digest
    proof: Proof | None
    path: tuple[Certificate, ...] = ()
    refused: str = ""


def network_digest(envelope: bytes) -> Digest:
    """Return the digest of a network's statement, by which somebody else pins it.

    Raises ``Refused`` for what is no such statement, or is not signed by its root.
    """
    verify_network(envelope)
    return Envelope.decode(envelope, LIMITS).digest


def write_receipts(folder: Path, home: Home, state: NodeState, artefacts: Artefacts) -> int:
    """Write a child's receipts into a new folder; return how many.

    Raises:
        NodeError: ``exists`` when there is something in the folder, ``no-receipts``.
        ArtefactError: for one that is damaged.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NodeError("exists", f"There is something in {folder} already; choose another folder.")
    kept = state.receipts.kept
    if not kept:
        raise NodeError("no-receipts", f"{home.certificate.name} has no receipts yet.")
    with nothing_left(folder):
        (folder / "path").mkdir(parents=True, exist_ok=True)
        for update, receipt in kept.items():
            for name, digest in (("receipt", receipt.receipt), ("release", receipt.release)):
                if digest != ZERO:
                    write_file(folder / f"{update}.{name}.env", artefacts.get(digest))
        for i, envelope in enumerate(home.path_envelopes):
            write_file(folder / "path" / f"{i:02}.env", envelope)
        write_file(folder / "network.env", home.network_envelope)
    return len(kept)


def check_receipts(folder: Path, pinned: Digest) -> Iterator[Checked]:
    """Verify every receipt in a folder, whoever wrote it.

    Args:
        pinned: the digest of the network's statement.

    Raises ``NodeError`` ``no-receipts`` for a folder that holds none.
    """
    names = sorted(file.name for file in folder.glob("*.receipt.env"))
    updates = [match.group(1) for name in names if (match := _RECEIPT.fullmatch(name))]
    if not updates:
        raise NodeError("no-receipts", f"There are no receipts in {folder}.")
    if len(updates) > MOST_FILES:
        raise NodeError("too-many-receipts", f"{folder} has over {MOST_FILES} receipts.")
    network = _read(folder / "network.env")
    path = [_read(file) for file in sorted((folder / "path").glob("*.env"))[: LIMITS.max_chain + 2]]
    for name in updates:
        update, release = Digest(name), folder / f"{name}.release.env"
        try:
            proof, certificates = prove_anywhere(
                _read(folder / f"{name}.receipt.env"),
                _read(release) if release.exists() else None,
                network=network,
                path=path,
                pinned=pinned,
                update=update,
            )
        except Refused as refused:
            yield Checked(update, None, refused=f"{refused.code}: {refused.sentence}")
            continue
        yield Checked(update, proof, certificates)


def _read(file: Path) -> bytes:
    """Read an envelope, and no more than one may have."""
    try:
        with file.open("rb") as opened:
            return opened.read(LIMITS.envelope_bytes + 1)
    except OSError as error:
        raise NodeError("no-receipts", f"{file} cannot be read: {error.strerror}.") from None
