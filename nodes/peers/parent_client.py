"""A child's standing questions to its parent: is my membership due, where are you, do you have …?

It asks at the start and every hour, and writes what changed into the state folder; the link is told
of a new authority and of other addresses while both work.
"""

from __future__ import annotations

import json
import math
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from nodes.errors import NodeError
from nodes.flower.errors import LinkError
from nodes.machine.clock import Clock
from nodes.machine.files import write_file
from nodes.machine.randomness import Randomness, SystemRandomness
from nodes.peers.base_transfer import Call
from nodes.state.home import Home, open_home
from nodes.trust.renewal import install_path, is_due
from protocol import (
    LIMITS,
    Envelope,
    LinkAuthority,
    PublicKey,
    Refused,
    open_envelope,
)

log = structlog.get_logger()

ASK_EVERY_S = 3600.0
"""Seconds between questions for the membership; a failed one is asked again after a minute."""
ASK_AGAIN_S = 60.0
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Membership:
    """A parent's answer about a child's membership.

    Attributes:
        path: the envelopes of the certificates from the root to the child.
        authority: what the parent's TLS certificate chains to, PEM.
        addresses: where the parent is reached, each ``host:port``.
    """

    path: tuple[bytes, ...]
    authority: bytes
    addresses: tuple[str, ...]

    @classmethod
    def decode(cls, data: bytes) -> Membership:
        """Read an answer. Raises ``NodeError`` ``bad-answer``."""
        try:
            fields = json.loads(data)
            path = tuple(b64decode(text, validate=True) for text in fields["path"])
            authority, addresses = fields["authority"], tuple(fields["addresses"])
            if not all(isinstance(text, str) for text in (authority, *addresses)):
                raise TypeError("it holds what is not text")
            return cls(path, authority.encode("ascii"), addresses)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NodeError("bad-answer", f"The parent's answer is damaged: {error}.") from None


class ParentClient:
    """The questions of one child.

    Args:
        call: asks a service of the parent over the verified link.
        call_unverified: asks one without a check of the parent's TLS certificate.
        on_authority: told of the authority to trust from now on.
        on_addresses: told of the parent's addresses.
    """

    def __init__(
        self,
        home: Home,
        clock: Clock,
        call: Call,
        call_unverified: Call,
        *,
        on_authority: Callable[[bytes], None],
        on_addresses: Callable[[Sequence[str]], None],
        randomness: Randomness | None = None,
    ) -> None:
        self._home, self._clock = home, clock
        self._call, self._call_unverified = call, call_unverified
        self._on_authority, self._on_addresses = on_authority, on_addresses
        self._randomness = randomness or SystemRandomness()
        self._announced = threading.Event()
        self._path = home.path

    def run(self, stop: threading.Event) -> None:
        """Keep the membership, the authority and the addresses current until ``stop``.

        Between questions, tell the parent of what ``announce`` was called for.
        """
        asked, wait = -math.inf, 0.0
        while not stop.wait(_LOOK_EVERY_S):
            try:
                since = self._clock.monotonic() - asked
                if since >= wait or (since >= ASK_AGAIN_S and self._is_due()):
                    asked, wait = self._clock.monotonic(), ASK_AGAIN_S
                    self.refresh()
                    wait = ASK_EVERY_S
                if self._announced.is_set():
                    self._announced.clear()
                    self.ready()
            except (NodeError, Refused, OSError) as error:
                log.debug("parent-not-asked", why=str(error))

    def _is_due(self) -> bool:
        """Return whether a certificate from the root to this node should be renewed by now: the
        clock may have been set."""
        now = self._clock.now_ms()
        return any(is_due(certificate, now) for certificate in self._path)

    def announce(self) -> None:
        """Let the parent hear soon that this node has something to send. Thread-safe."""
        self._announced.set()

    def refresh(self) -> bool:
        """Ask for the membership once, and write what is new; return whether anything is.

        Raises what the link, a refusal or an answer that does not verify raises.
        """
        changed = False
        try:
            answer = self._call("membership", b"")
        except LinkError as error:
            if error.code not in ("unknown-authority", "certificate-expired", "link-down"):
                raise
            changed = self.learn_authority()
            if not changed:
                raise
            answer = self._call("membership", b"")
        membership = Membership.decode(answer)
        renewed = install_path(self._home, membership.path, self._clock.now_ms())
        if renewed:
            self._path = open_home(self._home.folder, None).path
            log.info("membership-renewed", scope=str(self._home.scope))
        changed |= self._take_authority(membership.authority)
        if membership.addresses:
            self._on_addresses(membership.addresses)
        return renewed or changed

    def ready(self) -> None:
        """Tell the parent that this node has something to send. Raises ``LinkError``."""
        self._call("ready", b"")

    def learn_authority(self) -> bool:
        """Ask the parent what its TLS certificate chains to, if it is not what was expected.

        The connection is not verified; the answer is, by the parent's own signature over it and
        over a nonce. Returns whether it is another authority than before.

        Raises ``LinkError``, ``Refused`` for an answer that the parent did not sign.
        """
        parent, home = self._home.parent, self._home
        assert parent is not None  # noqa: S101  a root asks nobody
        nonce = self._randomness.token(32)
        sealed = Envelope.decode(self._call_unverified("authority", nonce), LIMITS)
        said = open_envelope(sealed, LinkAuthority, PublicKey.from_raw(parent.public_key))
        if (said.network, said.node, said.nonce) != (home.network.network, parent.node, nonce):
            raise NodeError("bad-answer", "The parent's answer is to another question.")
        return self._take_authority(said.authority)

    def _take_authority(self, authority: bytes) -> bool:
        if authority == self._home.parent_ca:
            return False
        try:
            ssl.create_default_context(cadata=authority.decode("ascii"))
        except (ssl.SSLError, ValueError):
            raise NodeError(
                "bad-authority", "The parent named an authority that is none."
            ) from None
        write_file(self._home.folder / "parent-ca.pem", authority)
        self._on_authority(authority)
        log.info("authority-changed")
        return True
