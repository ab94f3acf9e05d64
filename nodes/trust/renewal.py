"""Renew memberships before they end: a parent signs anew for keys that it knows already.

No person decides here: only the validity of a certificate changes. A certificate is due when half
of its life is over, so a node may be away for the other half; one that lapsed is renewed all the
same, for as long as the member was not revoked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nodes.errors import NodeError
from nodes.machine.files import write_file
from nodes.state.events import LedgerEvent, MemberRenewed
from nodes.state.home import Home
from nodes.state.node import Node
from nodes.trust.network import BACKDATED_MS, YEAR_MS
from protocol import (
    LIMITS,
    Certificate,
    Envelope,
    NodeId,
    open_envelope,
    seal,
    verify_path,
)


def is_due(certificate: Certificate, now_ms: int) -> bool:
    """Return whether half of a certificate's life is over."""
    life = certificate.valid_until_ms - certificate.valid_from_ms
    return now_ms >= certificate.valid_from_ms + life // 2


def renew_member(parent: Node, child: NodeId) -> bytes:
    """Return a member's certificate envelope, signed anew if it is due.

    Raises ``NodeError`` ``revoked`` or ``not-a-member``.
    """
    known = parent.certificate_of(child)
    if known is None:
        raise NodeError("not-a-member", f"{parent.home.scope} has no child {child[:12]}….")

    def build() -> list[LedgerEvent]:
        membership = parent.state.membership
        if membership.is_revoked(child):
            raise NodeError(
                "revoked", f"{known.name} is no member of {parent.home.scope} any more."
            )
        if not is_due(known, parent.clock.now_ms()):
            return []
        sealed = seal(_renewed(known, parent.clock.now_ms()), parent.home.key).encode()
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
        certificate, valid_from_ms=now_ms - BACKDATED_MS, valid_until_ms=now_ms + YEAR_MS
    )


def _identity(certificate: Certificate) -> Certificate:
    """Return what no renewal changes."""
    return replace(certificate, valid_from_ms=0, valid_until_ms=1)
