"""Certificates from the pinned network down to a node.

Each certificate is signed by the key of the certificate above it. The root's own is signed by the
key in the network's statement, which signs that statement too; a node trusts it because it was
handed over, or because its digest was pinned. Bytes and the time come in, verified certificates
come out. Nothing is stored here.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.envelope import Envelope, open_envelope
from protocol.errors import Code, Refused
from protocol.identity import PublicKey
from protocol.ids import Digest, NodeId, Scope
from protocol.limits import LIMITS, Limits
from protocol.statements import Certificate, Network, Role


def verify_network(
    envelope: bytes, *, pinned: Digest | None = None, limits: Limits = LIMITS
) -> Network:
    """Verify a network's statement; if a digest is pinned, also that the statement has it.

    Raises ``Refused``: what an envelope is refused for, ``wrong-network``, ``weak-key``.
    """
    sealed = Envelope.decode(envelope, limits)
    sealed.expect(Network)
    if pinned is not None and sealed.digest != pinned:
        raise Refused(
            Code.WRONG_NETWORK,
            f"This network's statement has digest {sealed.digest[:12]}…, expected {pinned[:12]}….",
        )
    # The only statement that is read before it is verified: the key that signs it is inside. Only
    # that key is taken from it.
    key = PublicKey.from_raw(Network.from_bytes(sealed.payload).root_key)
    network = open_envelope(sealed, Network, key)
    if network.root != NodeId(key.keyid):
        raise Refused(Code.WRONG_NODE, "The root's id is not the digest of the root's key.")
    return network


def verify_path(
    network_envelope: bytes,
    certificate_envelopes: Sequence[bytes],
    *,
    now_ms: int | None,
    pinned: Digest | None = None,
    limits: Limits = LIMITS,
) -> tuple[Network, tuple[Certificate, ...]]:
    """Verify the certificates from the root to a node, both included.

    Args:
        now_ms: when they must be valid; None for a node that asks for their renewal, and for
            nothing else.

    Raises ``Refused``: what ``verify_network`` and ``check_certificate`` are refused for, and
    ``duplicate-node`` when one node or one key stands twice in the path.
    """
    network = verify_network(network_envelope, pinned=pinned, limits=limits)
    longest = limits.max_chain + 1
    if not 1 <= len(certificate_envelopes) <= longest:
        raise Refused(
            Code.MALFORMED,
            f"The path has {len(certificate_envelopes)} certificates, expected 1 to {longest}.",
        )
    path: list[Certificate] = []
    key = PublicKey.from_raw(network.root_key)
    for envelope in certificate_envelopes:
        certificate = open_envelope(Envelope.decode(envelope, limits), Certificate, key)
        check_certificate(certificate, network, path[-1] if path else None)
        if now_ms is not None:
            check_validity(certificate, now_ms, limits)
        if any(_same_identity(certificate, above) for above in path):
            raise Refused(
                Code.DUPLICATE_NODE,
                f"Node {certificate.node[:12]}… or its key is twice in the path.",
            )
        path.append(certificate)
        key = PublicKey.from_raw(certificate.public_key)
    return network, tuple(path)


def check_certificate(
    certificate: Certificate, network: Network, above: Certificate | None
) -> None:
    """Check that a certificate belongs below ``above``; at the root, below the network itself.

    Raises ``Refused``: ``wrong-network``, ``weak-key``, ``wrong-node``, ``wrong-parent``,
    ``wrong-role``, ``wrong-scope``, ``wrong-mask``.
    """
    who = f"The certificate of {certificate.name}"
    if certificate.network != network.network:
        raise Refused(Code.WRONG_NETWORK, f"{who} belongs to another network.")
    key = PublicKey.from_raw(certificate.public_key)
    if certificate.key_epoch == 1 and certificate.node != NodeId(key.keyid):
        raise Refused(Code.WRONG_NODE, f"{who} has an id that is not the digest of its first key.")
    if certificate.mask_rank > network.rank:
        raise Refused(
            Code.WRONG_MASK,
            f"{who} has rank {certificate.mask_rank}, expected at most {network.rank}.",
        )
    role, parent_role = certificate.role, above.role if above else None
    allowed = (Role.ROOT,) if above is None else (Role.INTERIOR, Role.DEVICE)
    if role not in allowed or parent_role is Role.DEVICE:
        below = f"below a {parent_role}" if parent_role else "at the top"
        raise Refused(Code.WRONG_ROLE, f"{who} makes it a {role} {below}.")
    if above is None:
        if certificate.node != network.root or certificate.public_key != network.root_key:
            raise Refused(Code.WRONG_NODE, f"{who} is not that of the network's root.")
        parent, parent_scope = network.root, Scope()
    else:
        parent, parent_scope = above.node, above.scope
    if certificate.parent != parent:
        raise Refused(Code.WRONG_PARENT, f"{who} names another parent.")
    # A device hangs below the parent's own scope; an interior node owns one directly below it.
    place = certificate.scope.parent if role is Role.INTERIOR else certificate.scope
    if (certificate.parent_scope, place) != (parent_scope, parent_scope):
        raise Refused(
            Code.WRONG_SCOPE,
            f"{who} is for a {role} of {certificate.scope}; its parent owns {parent_scope}.",
        )


def check_validity(certificate: Certificate, now_ms: int, limits: Limits = LIMITS) -> None:
    """Check that a certificate holds now, and not for longer than is allowed.

    Raises ``Refused``: ``not-yet-valid``, ``certificate-expired``, ``lifetime-too-long``.
    """
    skew = limits.clock_skew_s * 1000
    if now_ms + skew < certificate.valid_from_ms:
        raise Refused(
            Code.NOT_YET_VALID,
            f"The certificate of {certificate.name} is not valid yet: check this clock, or sign a "
            "new one if the parent's clock was ahead.",
        )
    if now_ms - skew > certificate.valid_until_ms:
        raise Refused(
            Code.CERTIFICATE_EXPIRED,
            f"The certificate of {certificate.name} has expired; its parent must sign a new one.",
        )
    lifetime = certificate.valid_until_ms - certificate.valid_from_ms
    if lifetime > limits.certificate_lifetime_s * 1000:
        raise Refused(
            Code.LIFETIME_TOO_LONG,
            f"The certificate of {certificate.name} is for {lifetime // 86_400_000} days, "
            f"expected at most {limits.certificate_lifetime_s // 86_400}.",
        )


def _same_identity(one: Certificate, other: Certificate) -> bool:
    return one.node == other.node or one.public_key == other.public_key
