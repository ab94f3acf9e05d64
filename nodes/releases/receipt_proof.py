"""Check a receipt against the release that it is bound to, with nothing but certificates.

What a parent did not sign proves nothing, and is refused. What it signed and cannot be true
together is a contradiction: evidence against the parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nodes.errors import NodeError
from nodes.releases.chain import verify_release
from nodes.state.fates import fate_of
from protocol import (
    LIMITS,
    Certificate,
    Code,
    Digest,
    Envelope,
    Fate,
    Network,
    NodeId,
    PublicKey,
    Receipt,
    Refused,
    Release,
    open_envelope,
    verify_path,
)
from protocol.certificates import check_validity

CONTRADICTING = "contradicting-receipt"


@dataclass(frozen=True)
class Proof:
    """A receipt that its parent signed.

    ``contradiction`` says why it cannot be true with the release; empty if it can.
    """

    receipt: Receipt
    release: Release | None
    contradiction: str = ""

    def check(self) -> Receipt:
        """Return the receipt. Raises ``NodeError`` ``contradicting-receipt``."""
        if self.contradiction:
            raise NodeError(CONTRADICTING, self.contradiction)
        return self.receipt


def prove(
    receipt: bytes,
    release: bytes | None,
    *,
    network: Network,
    parent: Certificate,
    child: NodeId,
    update: Digest,
) -> Proof:
    """Verify the envelopes of a receipt and of the release that it names.

    Raises:
        Refused: what an envelope is refused for, ``bad-signature``, ``wrong-network``,
            ``wrong-parent``, ``wrong-node``, ``wrong-digest`` for another update or release than
            the one that was asked for.
    """
    sealed = Envelope.decode(receipt, LIMITS)
    said = open_envelope(sealed, Receipt, PublicKey.from_raw(parent.public_key))
    bindings = (
        (said.network, network.network, Code.WRONG_NETWORK, "network"),
        (said.node, parent.node, Code.WRONG_PARENT, "parent"),
        (said.child, child, Code.WRONG_NODE, "child"),
        (said.update, update, Code.WRONG_DIGEST, "update"),
    )
    for got, expected, code, name in bindings:
        if got != expected:
            raise Refused(code, f"The receipt names {name} {got}, expected {expected}.")
    if not said.release:
        return Proof(said, None, _without_release(said))
    if not release:
        raise Refused(Code.WRONG_DIGEST, "The release that the receipt names did not come with it.")
    named, digest = verify_release(release, parent, network)
    if digest != said.release:
        raise Refused(Code.WRONG_DIGEST, "The release is not the one that the receipt names.")
    return Proof(said, named, _with_release(said, named))


def prove_anywhere(
    receipt: bytes,
    release: bytes | None,
    *,
    network: bytes,
    path: Sequence[bytes],
    pinned: Digest,
    update: Digest,
) -> tuple[Proof, tuple[Certificate, ...]]:
    """Verify a receipt with the certificates from the root to the child.

    The certificates may have been renewed since, for the same keys. So it is not asked whether they
    had begun when the receipt was signed, but that they had not ended.

    Returns:
        The proof, and the certificates: the last is the child's, the one before it the parent's.

    Raises:
        Refused: for certificates, a receipt or a release that do not verify.
    """
    verified, certificates = verify_path(network, path, now_ms=None, pinned=pinned)
    if len(certificates) < 2:
        raise Refused(Code.MALFORMED, "A child has at least two certificates above and its own.")
    parent, child = certificates[-2:]
    proof = prove(
        receipt, release, network=verified, parent=parent, child=child.node, update=update
    )
    for certificate in certificates:
        at_ms = max(proof.receipt.issued_ms, certificate.valid_from_ms)
        check_validity(certificate, at_ms)
    return proof, certificates


def _without_release(said: Receipt) -> str:
    if said.fate in (Fate.COUNTED, Fate.OUTVOTED, Fate.WITHDRAWN):
        return f"The receipt says {said.fate}, and names no release that says so."
    return ""


def _with_release(said: Receipt, release: Release) -> str:
    """Say why a receipt and a release that the same parent signed cannot both be true."""
    where = f"Release {release.version} of {release.scope}"
    if said.version != release.version:
        return f"{where} is said to be version {said.version}."
    verdicts = [v for v in release.verdicts if v.update == said.update and fate_of(v) is not None]
    mine = [verdict for verdict in verdicts if verdict.node == said.child]
    if not mine:
        other = "another child's" if verdicts else "no"
        return f"{where} names this update as {other} update; the receipt says {said.fate}."
    # A rollback names no update: what it undid stands in the release that had counted it.
    undone = said.fate is Fate.WITHDRAWN and said.code == "undone"
    expected = (Fate.COUNTED, "") if undone else (said.fate, said.code)
    for verdict in mine:
        if (fate_of(verdict), verdict.code) == expected and verdict.share == said.share:
            return ""
    given = ", ".join(f"{fate_of(v)} {v.code}".strip() for v in mine)
    return f"{where} says {given} of this update; the receipt says {said.fate} {said.code}."
