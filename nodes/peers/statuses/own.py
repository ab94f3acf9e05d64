"""A node's own status: composed from what is in memory and in small files, signed by its key."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from nodes.machine.troubles import Trouble
from nodes.peers.statuses.around import Around, Folder, this_software
from nodes.peers.statuses.book import StatusBook
from nodes.peers.statuses.children import ChildRecord, ChildrenFold, seen_as
from nodes.peers.statuses.rows import CHILDREN_NOTE, HOLDS_NOTE
from nodes.peers.statuses.verify import MAX_STATUS_BYTES
from nodes.state.artefacts import ArtefactError
from nodes.state.home import Home
from nodes.state.ledger import Head
from nodes.state.node import Node
from nodes.state.node_state import NodeState
from nodes.state.records import ZERO
from protocol import (
    LIMITS,
    Certificate,
    ChildState,
    NodeId,
    ProtocolError,
    Role,
    Status,
    Tally,
    seal,
)
from protocol.peer_pb2 import Signed

LIFE_MS = 30_000
"""After this a status is signed anew, also where nothing changed."""

_MOST_TALLIES = 64
_NEVER_MS = 2**53
_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_OTHER = "other"
_DISPENSABLE = ("active", "revoked", "lapsed", "abstaining", "suspended", "refused", "quarantined")
"""States of children, in the order in which they are left out of a status that is too large."""


def compose(
    home: Home,
    state: NodeState,
    head: Head,
    fold: ChildrenFold,
    around: Around,
    *,
    now_ms: int,
    certificate_of: Callable[[NodeId], Certificate | None],
    heard: Mapping[NodeId, int] | None = None,
    confined: bool = False,
    hidden: int = 0,
    nonce: bytes = b"",
) -> Status:
    """Say how a node is.

    ``version`` is of the node's newest release, at a device of the release that it follows. Where
    the whole had more than ``MAX_STATUS_BYTES`` bytes, it leaves out children; ``members`` counts
    all of them.

    Args:
        head: the last event of the ledger that ``state`` and ``fold`` have.
        certificate_of: a child's present certificate.
        heard: when each child last called, beside what is in the ledger.
        hidden: how many statuses below this node are confined.
    """
    children = _children(state, fold, now_ms, certificate_of, heard or {})
    members = Counter(child.state for child in children)
    own = around.certificate
    followed = state.above.links[-1].version if state.above.links else 0
    trained = state.offers.trained

    def status(named: Sequence[ChildState]) -> Status:
        return Status(
            network=home.network.network,
            node=home.id,
            scope=own.scope,
            role=own.role,
            name=own.name,
            issued_ms=now_ms,
            started_ms=around.started_ms,
            software=around.software[:256],
            version=followed if own.role is Role.DEVICE else state.own.version,
            chain=state.above.snapshot or ZERO,
            ledger=head.digest,
            events=head.seq,
            round=(trained.round if trained else 0) if home.is_device else state.rounds.next - 1,
            round_open=state.rounds.open is not None,
            outcome=_code(fold.outcome) if fold.outcome else "",
            children=tuple(named),
            members=_tallies(members, 16),
            refused=_tallies(fold.refused),
            troubles=_tallies(Counter(around.troubles)),
            disk_free=around.disk_free,
            disk_used=around.disk_used,
            membership_until_ms=own.valid_until_ms,
            link_until_ms=around.link_until_ms,
            way=around.way,
            confined=confined,
            hidden=hidden,
            nonce=nonce,
        )

    room = MAX_STATUS_BYTES - len(status(()).to_bytes())
    return status(_that_fit(children, room))


class OwnStatus:
    """The status of a running node, kept in its file of statuses each time it is signed anew.

    Args:
        confined: it stays with the parent.
        way: gives the address by which the node reaches its parent.
        troubles: gives what does not work now.
    """

    def __init__(
        self,
        node: Node,
        book: StatusBook,
        *,
        confined: bool = False,
        way: Callable[[], str] = str,
        troubles: Callable[[], Iterable[Trouble]] = tuple,
    ) -> None:
        self._node, self._book, self._file = node, book, book.file
        self._confined, self._way, self._troubles = confined, way, troubles
        self._folder = Folder(node.home.folder, node.clock)
        self._started_ms = node.clock.now_ms()
        self._fold = ChildrenFold.from_json(self._file.note(CHILDREN_NOTE), node.ledger)
        self._lock = threading.RLock()
        self._signed: tuple[Status, Signed] | None = None
        self._last_ms = book.own_issued_ms

    def current(self) -> Signed:
        """Return the status for a report: the last one, or one anew if something changed since or
        half a minute is over.

        Raises what reading the ledger or the node's own certificate raises.
        """
        with self._lock:
            status, sealed = self._compose()
            if self._signed is not None:
                last, signed = self._signed
                age = status.issued_ms - last.issued_ms
                if _substance(last) == _substance(status) and 0 <= age < LIFE_MS:
                    return signed
            signed = self._seal(status, sealed)
            self._signed, self._last_ms = (status, signed), status.issued_ms
            notes = {
                CHILDREN_NOTE: self._fold.to_json(),
                HOLDS_NOTE: str(self._holds_until(status)),
            }
            self._book.keep_own(status, signed, notes)
            return signed

    def answer(self, nonce: bytes) -> Signed:
        """Return the status as of now for one who asks, with its nonce of at most 32 bytes.

        Raises ``Refused`` ``malformed`` for another nonce, and what ``current`` raises.
        """
        with self._lock:
            return self._seal(*self._compose(nonce))

    def _compose(self, nonce: bytes = b"") -> tuple[Status, bytes]:
        node = self._node
        codes = tuple(trouble.code for trouble in self._troubles())
        around = self._folder.around(
            way=self._way(),
            started_ms=self._started_ms,
            troubles=codes,
            software=this_software(),
        )
        hidden = self._book.hidden  # before the node's lock: the book takes both, its own first
        with node.lock:
            head = node.head
            self._fold.catch_up(node.ledger, head)
            status = compose(
                node.home,
                node.state,
                head,
                self._fold,
                around,
                now_ms=self._moment(),
                certificate_of=lambda child: _certificate(node, child),
                heard=self._book.heard,
                confined=self._confined,
                hidden=hidden,
                nonce=nonce,
            )
        return status, around.sealed

    def _holds_until(self, status: Status) -> int:
        """Return when the first membership ends of those that hold."""
        node = self._node
        with node.lock:
            found = [_certificate(node, child) for child in node.state.membership.active]
        ends = (c.valid_until_ms for c in found if c and c.valid_until_ms > status.issued_ms)
        return min(ends, default=_NEVER_MS)

    def _moment(self) -> int:
        """Return now, but not before the last status: a parent takes none that is older. A clock
        that was set back by more than peers tolerate is followed."""
        now = self._node.clock.now_ms()
        ahead = self._last_ms + 1 - now
        return now + ahead if 0 < ahead <= LIMITS.clock_skew_s * 1000 else now

    def _seal(self, status: Status, certificate: bytes) -> Signed:
        statement = seal(status, self._node.home.key).encode()
        return Signed(statement=statement, certificate=certificate)


def _certificate(node: Node, child: NodeId) -> Certificate | None:
    try:
        return node.certificate_of(child)
    except (ArtefactError, ProtocolError):
        return None


def _children(
    state: NodeState,
    fold: ChildrenFold,
    now_ms: int,
    certificate_of: Callable[[NodeId], Certificate | None],
    heard: Mapping[NodeId, int],
) -> list[ChildState]:
    children = []
    for member in state.membership.members:
        record = fold.children.get(member.node) or ChildRecord()
        stands = seen_as(state, member.node, record, certificate_of(member.node), now_ms)
        children.append(
            ChildState(
                node=member.node,
                name=member.name,
                state=stands.state,
                reason=_code(stands.reason) if stands.reason else "",
                since_ms=stands.since_ms,
                seen_ms=max(record.heard_ms, heard.get(member.node, 0)),
            )
        )
    return children


def _that_fit(children: Sequence[ChildState], room: int) -> list[ChildState]:
    """Leave out children, those of the least interest that were longest not seen first, until the
    rest takes at most ``room`` bytes."""
    # A field of a message takes its bytes, a tag and up to three bytes of length.
    sizes = {child.node: child.to_message().ByteSize() + 4 for child in children}
    total, left_out = sum(sizes.values()), set[NodeId]()
    order = sorted(children, key=lambda child: (_DISPENSABLE.index(child.state), child.seen_ms))
    for child in order:
        if total <= room and len(children) - len(left_out) <= LIMITS.max_circle:
            break
        left_out.add(child.node)
        total -= sizes[child.node]
    return [child for child in children if child.node not in left_out]


def _tallies(counts: Counter[str], most: int = _MOST_TALLIES) -> tuple[Tally, ...]:
    """Count by code, the most frequent codes by themselves and the others together."""
    named: Counter[str] = Counter()
    for code, count in counts.most_common():
        known = _code(code)
        named[known if known in named or len(named) < most - 1 else _OTHER] += count
    return tuple(Tally(code=code, count=count) for code, count in sorted(named.items()))


def _code(text: str) -> str:
    return text if _CODE.fullmatch(text) else _OTHER


def _substance(status: Status) -> tuple[object, ...]:
    """What makes a status news: not the moment, nor figures that move all the time."""
    return (
        *(status.version, status.chain, status.round, status.round_open, status.outcome),
        *(status.members, status.refused, status.troubles, status.hidden, status.name),
        *(status.membership_until_ms, status.link_until_ms, status.way),
        tuple((c.node, c.name, c.state, c.reason, c.since_ms) for c in status.children),
    )
