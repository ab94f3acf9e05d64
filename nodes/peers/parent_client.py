"""What a child asks its parent beside tasks: new certificates, and what has happened.

Certificates are renewed at half of their life, at once when the parent says that something
changed, and when a connection is refused. The link is told of a new authority and of other
addresses while both work. Where the parent refuses, the child says why: lapsed, suspended and
revoked are different things.
"""

from __future__ import annotations

import datetime
import math
import queue
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence

import structlog

from nodes.config.reach import ParentAddresses
from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.machine.files import write_file
from nodes.machine.randomness import Randomness, SystemRandomness
from nodes.machine.troubles import Troubles
from nodes.peers.wire.client import Credentials, PeerChannel, pinned_leaf
from nodes.peers.wire.errors import HANDSHAKE_REFUSED, LINK_DOWN, NO_ADDRESS, PeerError
from nodes.state.home import Home, open_home
from nodes.trust.link_certificates import LINK_FILE, link_is_due, peer_name
from nodes.trust.renewal import ask_renewal, install_renewed, is_due
from protocol import (
    LIMITS,
    Envelope,
    LinkAuthority,
    ProtocolError,
    PublicKey,
    open_envelope,
    peer_pb2,
)

log = structlog.get_logger()

RENEW_EVERY_S = 3600.0
"""Seconds between renewals that nothing asked for: addresses may have changed."""
RENEW_AGAIN_S = 60.0
_LOOK_EVERY_S = 1.0
_LONGEST_PAUSE_S = 30.0

Notice = Callable[[peer_pb2.ParentSays], None]


class ParentClient:
    """The questions of one child.

    Args:
        known: where the parent is; what it tells is kept there.
        on_authority: told of the authority to trust from now on.
        on_addresses: told of the parent's addresses of Flower's link, when they are news.
        on_notice: told of what the parent says by itself.
        on_renewed: told when this node's certificates are others than before.
    """

    def __init__(
        self,
        home: Home,
        clock: Clock,
        known: ParentAddresses,
        troubles: Troubles,
        *,
        on_authority: Callable[[bytes], None],
        on_addresses: Callable[[Sequence[str]], None],
        on_notice: Notice = lambda _: None,
        on_renewed: Callable[[], None] = lambda: None,
        randomness: Randomness | None = None,
    ) -> None:
        assert home.parent is not None  # noqa: S101  a root asks nobody
        self.home, self._clock, self._known, self._troubles = home, clock, known, troubles
        self._parent = home.parent
        self._on_authority, self._on_addresses = on_authority, on_addresses
        self._on_notice, self._on_renewed = on_notice, on_renewed
        self._randomness = randomness or SystemRandomness()
        self._attending = False
        self._due, self._announced = threading.Event(), threading.Event()
        self._path = home.path
        name = peer_name(self._parent.node)
        self._door = PeerChannel(lambda: known.doors, self._trusted, name)
        self.peers = PeerChannel(lambda: known.peers, self.credentials, name)
        """Calls to the parent's service for its members."""

    def credentials(self) -> Credentials:
        """Return what this node shows to others of the circle, as it is on disk now."""
        try:
            link = (self.home.folder / LINK_FILE).read_bytes()
        except FileNotFoundError:
            self._due.set()
            raise PeerError(LINK_DOWN, "This node has no link certificate yet.", 1000) from None
        return Credentials(self.home.parent_ca, link, self.home.transport_pem)

    @property
    def attends(self) -> bool:
        """Whether the connection on which the parent tells what is new is open."""
        return self._attending

    def close(self) -> None:
        """Close the connections."""
        self._door.close()
        self.peers.close()

    def announce(self) -> None:
        """Let the parent hear soon that this node has something to send. Thread-safe."""
        self._announced.set()

    # -- certificates

    def run(self, stop: threading.Event) -> None:
        """Keep certificates, authority and addresses current until ``stop``."""
        asked, wait = self._clock.monotonic(), RENEW_EVERY_S
        if self._is_due() or not self._known.peers:
            asked = -math.inf
        while not stop.wait(_LOOK_EVERY_S):
            since = self._clock.monotonic() - asked
            is_wanted = self._due.is_set() or (since >= RENEW_AGAIN_S and self._is_due())
            if since < wait and not is_wanted:
                continue
            asked, wait = self._clock.monotonic(), RENEW_AGAIN_S
            self._due.clear()
            try:
                self.renew()
                wait = RENEW_EVERY_S
            except (NodeError, ProtocolError, OSError) as error:
                self._say(error)

    def _is_due(self) -> bool:
        """Return whether a certificate should be renewed by now: the clock may have been set."""
        now = self._clock.now_ms()
        try:
            link = (self.home.folder / LINK_FILE).read_bytes()
        except FileNotFoundError:
            return True
        moment = datetime.datetime.fromtimestamp(now / 1000, datetime.UTC)
        return link_is_due(link, moment) or any(is_due(c, now) for c in self._path)

    def renew(self) -> bool:
        """Ask for new certificates once, and install them; return whether any is new.

        Raises ``PeerError`` for what the parent refuses, and whatever an answer that does not
        verify is refused for.
        """
        question = peer_pb2.RenewRequest(renewal=ask_renewal(self.home, self._clock.now_ms()))
        try:
            reply = self._door.ask("Renew", question)
        except PeerError as error:
            # The parent's certificate may be of another authority than before.
            if not (error.is_down or error.code == "unknown-authority") or not self._learned():
                raise
            reply = self._door.ask("Renew", question)
        trusted = self.home.parent_ca
        changed = install_renewed(
            self.home, tuple(reply.path), reply.link, reply.authority, self._clock.now_ms()
        )
        if reply.authority != trusted:
            self._use_authority(reply.authority)
        if changed:
            self._path = open_home(self.home.folder, None).path
            self.peers.renew()
            self._on_renewed()
            log.info("certificates-renewed", scope=str(self.home.scope))
        if self._known.tell(reply.addresses, reply.peers, reply.doors):
            self._on_addresses(self._known.in_turn)
        self._troubles.clear("membership")
        return changed

    def _say(self, error: Exception) -> None:
        """Let ``status`` say why there are no new certificates, unless nobody answered."""
        if isinstance(error, PeerError) and error.is_down:
            log.debug("not-renewed", why=str(error))
            return
        code, sentence = getattr(error, "code", "failed"), getattr(error, "sentence", str(error))
        self._troubles.report("membership", str(code), sentence)
        log.warning("not-renewed", code=str(code), why=sentence)

    def _learned(self) -> bool:
        """Ask for the authority where the parent's certificate was not recognised; return whether
        it is another one than before."""
        try:
            return self.learn_authority()
        except (PeerError, ProtocolError) as error:
            log.debug("authority-not-asked", why=str(error))
            return False

    def learn_authority(self) -> bool:
        """Ask the parent what its certificates chain to, if it is not what was expected.

        The connection is believed for the certificate that it shows, whatever that is; the answer
        is signed by the parent over a nonce. Returns whether it is another authority than before.

        Raises ``PeerError``, ``Refused`` for an answer that the parent did not sign.
        """
        failed: Exception = PeerError(NO_ADDRESS, "No address of the parent's door is known.")
        for address in self._known.doors:
            try:
                authority = self._ask_authority(address, pinned_leaf(address))
            except (PeerError, ProtocolError) as error:
                failed = error
            else:
                return self._take_authority(authority)
        raise failed

    def _ask_authority(self, address: str, shown: bytes) -> bytes:
        home, nonce = self.home, self._randomness.token(32)
        name = peer_name(self._parent.node)
        channel = PeerChannel(lambda: [address], lambda: Credentials(shown), name)
        try:
            reply = channel.ask("Authority", peer_pb2.AuthorityRequest(nonce=nonce))
        finally:
            channel.close()
        sealed = Envelope.decode(reply.authority, LIMITS)
        said = open_envelope(sealed, LinkAuthority, PublicKey.from_raw(self._parent.public_key))
        if (said.network, said.node, said.nonce) != (
            home.network.network,
            self._parent.node,
            nonce,
        ):
            raise PeerError("bad-answer", "The parent's answer is to another question.")
        return said.authority

    def _trusted(self) -> Credentials:
        return Credentials(self.home.parent_ca)

    def _take_authority(self, authority: bytes) -> bool:
        if authority == self.home.parent_ca:
            return False
        try:
            ssl.create_default_context(cadata=authority.decode("ascii"))
        except (ssl.SSLError, ValueError):
            raise NodeError(
                "bad-authority", "The parent named an authority that is none."
            ) from None
        write_file(self.home.folder / "parent-ca.pem", authority)
        self._use_authority(authority)
        return True

    def _use_authority(self, authority: bytes) -> None:
        self._door.renew()
        self.peers.renew()
        self._on_authority(authority)
        log.info("authority-changed")

    # -- the connection that stays open

    def attend(self, stop: threading.Event) -> None:
        """Keep a connection open on which the parent tells what is new, until ``stop``."""
        pause = 1.0
        while not stop.is_set():
            try:
                if not self._known.peers:
                    raise PeerError(NO_ADDRESS, "The parent has not said where its peers meet.")
                self._attend(stop)
                pause = 1.0
            except PeerError as error:
                if error.code in (HANDSHAKE_REFUSED, "certificate-expired", "unknown-authority"):
                    self._due.set()
                elif not error.is_down:
                    self._say(error)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                log.debug("not-attending", why=str(error))
            stop.wait(pause * (0.5 + self._randomness.bits(16) / 2**16))

    def _look_at_membership(self) -> None:
        """Ask for certificates when a member that was out is let in again: that says so."""
        if any(trouble.key == "membership" for trouble in self._troubles.standing):
            self._due.set()

    def _attend(self, stop: threading.Event) -> None:
        outgoing: queue.Queue[peer_pb2.ChildSays | None] = queue.Queue()
        heard = self.peers.stream("Attend", _sent(outgoing), timeout_s=None)
        ended = threading.Event()

        def speak() -> None:
            while not (stop.is_set() or ended.is_set()):
                if self._announced.wait(_LOOK_EVERY_S):
                    self._announced.clear()
                    outgoing.put(peer_pb2.ChildSays(ready=True))
            outgoing.put(None)
            if stop.is_set():
                self.peers.close()  # ends the wait for the parent's next word

        outgoing.put(peer_pb2.ChildSays())
        speaking = threading.Thread(target=speak, name="attend-speak", daemon=True)
        speaking.start()
        try:
            for said in heard:
                if not self._attending:
                    self._attending = True
                    self._look_at_membership()
                self._on_notice(said)
        finally:
            self._attending = False
            ended.set()
            speaking.join()


def _sent(outgoing: queue.Queue[peer_pb2.ChildSays | None]) -> Iterator[peer_pb2.ChildSays]:
    while (message := outgoing.get()) is not None:
        yield message
