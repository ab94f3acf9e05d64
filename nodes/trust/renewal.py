"""Renew memberships before they end: a parent signs anew for keys that it knows already.

No person decides here: only the validity of a certificate changes. A certificate is due when half
of its life is over, so a node may be away for the other half; one that lapsed is renewed all the
same, unless the member was suspended or revoked.

A child asks with a signed ``Renewal``, so it needs no certificate that still holds. The answer has
a new link certificate too.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nodes.errors import NodeError
from nodes.machine.files import write_file
from nodes.state.events import LedgerEvent, MemberRenewed
from nodes.state.home import Home
from nodes.state.node import Node
from nodes.trust.link_certificates import check_link, install_link, issue_link
from nodes.trust.network import BACKDATED_MS, MEMBERSHIP_MS
from nodes.trust.standing import Standing, standing_of
from nodes.trust.tls import authority_pem
from protocol import (
    LIMITS,
    Certificate,
    Code,
    Envelope,
    KeyId,
    NodeId,
    PublicKey,
    Refused,
    Renewal,
    open_envelope,
    seal,
    verify_path,
)


@dataclass(frozen=True)
class Renewed:
    """What a child gets when it asks for renewal.

    Attributes:
        path: the envelopes of the certificates from the root to the child.
        link: its new link certificate, PEM.
        authority: what certificates in the parent's circle chain to, PEM.
    """

    path: tuple[bytes, ...]
    link: bytes
    authority: bytes


def is_due(certificate: Certificate, now_ms: int) -> bool:
    """Return whether half of a certificate's life is over.

    One for longer than ``MEMBERSHIP_MS``, as earlier versions signed it, counts as if it were for
    that long: it is due at half of ``MEMBERSHIP_MS`` although it holds on.
    """
    life = certificate.valid_until_ms - certificate.valid_from_ms
    return now_ms >= certificate.valid_from_ms + min(life, BACKDATED_MS + MEMBERSHIP_MS) // 2


# -- at the parent ------------------------------------------------------------------------------


def answer_renewal(parent: Node, sealed_renewal: bytes) -> Renewed:
    """Answer a child's request: its certificates, renewed if due, and a new link certificate.

    Who asks is known by its signature alone. An old request sent once more gets what is no secret.

    Raises ``Refused``: what an envelope is refused for, ``wrong-network``, ``not-a-member``,
    ``wrong-key-epoch``, ``bad-signature``; ``NodeError`` ``suspended`` or ``revoked``.
    """
    child = _who_asks(parent, sealed_renewal)
    own = renew_member(parent, child)
    certificate, home = parent.certificate_of(child), parent.home
    assert certificate is not None  # noqa: S101  members are never forgotten
    now = datetime.datetime.fromtimestamp(parent.clock.now_ms() / 1000, datetime.UTC)
    link = issue_link(home.folder / "tls", home.key, certificate, now)
    path = (*path_envelopes(home.folder), own)
    return Renewed(path, link, authority_pem(home.folder / "tls", home.key))


def _who_asks(parent: Node, sealed_renewal: bytes) -> NodeId:
    """Verify a request and return the member that signed it."""
    sealed = Envelope.decode(sealed_renewal, LIMITS, at_most=LIMITS.answer_bytes)
    sealed.expect(Renewal)
    # Read before it is verified, to find the key that verifies it; no more is taken from it.
    claimed = Renewal.from_bytes(sealed.payload).node
    known = parent.certificate_of(claimed)
    if known is None:
        raise Refused(Code.NOT_A_MEMBER, Standing.NOT_A_MEMBER.sentence)
    key = PublicKey.from_raw(known.public_key)
    if claimed != NodeId(key.keyid) and sealed.signatures[0].keyid == KeyId(claimed):
        raise Refused(
            Code.WRONG_KEY_EPOCH,
            f"{known.name} asked with a key that it has replaced; "
            f"it is at key epoch {known.key_epoch}.",
        )
    renewal = open_envelope(sealed, Renewal, key)
    if renewal.network != parent.home.network.network:
        raise Refused(Code.WRONG_NETWORK, f"{known.name} asked for another network.")
    if renewal.key_epoch != known.key_epoch:
        raise Refused(
            Code.WRONG_KEY_EPOCH,
            f"{known.name} asked at key epoch {renewal.key_epoch}; it is at {known.key_epoch}.",
        )
    return claimed


def renew_member(parent: Node, child: NodeId) -> bytes:
    """Return a member's certificate envelope, signed anew if it is due.

    Raises ``NodeError`` ``not-a-member``, ``suspended`` or ``revoked``.
    """

    def build() -> list[LedgerEvent]:
        known, now = parent.certificate_of(child), parent.clock.now_ms()
        standing_of(parent.state.membership, child, known, now).require(Standing.LAPSED)
        assert known is not None  # noqa: S101  a member has a certificate
        if not is_due(known, now):
            return []
        sealed = seal(_renewed(known, now), parent.home.key).encode()
        return [MemberRenewed(child=child, certificate=parent.artefacts.put(sealed))]

    parent.transact(build)
    member = parent.state.membership.get(child)
    assert member is not None  # noqa: S101  it was there, and members are never forgotten
    return parent.artefacts.get(member.certificate)


def renew_root(home: Home, now_ms: int) -> bool:
    """Sign the root's own certificate anew if it is due; return whether it was."""
    if home.parent is not None:
        return False
    # As it is on disk: a running node goes on with the one that it started with.
    sealed = Envelope.decode(path_envelopes(home.folder)[0], LIMITS)
    own = open_envelope(sealed, Certificate, home.key.public)
    if not is_due(own, now_ms):
        return False
    install_path(home, [seal(_renewed(own, now_ms), home.key).encode()], now_ms)
    return True


# -- at the child -------------------------------------------------------------------------------


def ask_renewal(home: Home, now_ms: int) -> bytes:
    """Write what a child asks its parent with; its certificates may have lapsed."""
    request = Renewal(
        network=home.network.network,
        node=home.id,
        key_epoch=home.certificate.key_epoch,
        issued_ms=now_ms,
    )
    return seal(request, home.key).encode()


def install_renewed(
    home: Home, path: Sequence[bytes], link: bytes, authority: bytes, now_ms: int
) -> bool:
    """Write what a parent answered to ``ask_renewal``; return whether anything is new.

    Args:
        authority: believed because the parent said it over a link that was verified.

    Raises what ``check_link`` and ``install_path`` raise; then nothing was written.
    """
    check_link(home.folder, link, authority)
    changed = install_path(home, path, now_ms)
    if authority != home.parent_ca:  # before the link certificate, which chains to it
        write_file(home.folder / "parent-ca.pem", authority)
        changed = True
    return install_link(home.folder, link, authority) or changed


def install_path(home: Home, envelopes: Sequence[bytes], now_ms: int) -> bool:
    """Write renewed certificates from the root to this node; return whether any is new.

    A running node goes on with those it has in memory: only the validity differs, which is checked
    when a folder is opened. If the process ends in between, some are old and some new, and each
    still verifies.

    Raises ``Refused`` for what does not verify, ``NodeError`` ``wrong-path`` for the certificates
    of another node.
    """
    _, path = verify_path(home.network_envelope, envelopes, now_ms=now_ms)
    if [_identity(c) for c in path] != [_identity(c) for c in home.path]:
        raise NodeError("wrong-path", "The parent sent the certificates of another place or key.")
    changed = False
    for place, envelope in enumerate(envelopes):
        file = home.folder / "path" / f"{place:02}.env"
        if file.read_bytes() != envelope:
            write_file(file, envelope)
            changed = True
    return changed


def path_envelopes(folder: Path) -> tuple[bytes, ...]:
    """Read the certificates from the root to a node as they are on disk now."""
    return tuple(file.read_bytes() for file in sorted((folder / "path").glob("*.env")))


def _renewed(certificate: Certificate, now_ms: int) -> Certificate:
    return replace(
        certificate, valid_from_ms=now_ms - BACKDATED_MS, valid_until_ms=now_ms + MEMBERSHIP_MS
    )


def _identity(certificate: Certificate) -> Certificate:
    """Return what no renewal changes."""
    return replace(certificate, valid_from_ms=0, valid_until_ms=1)
