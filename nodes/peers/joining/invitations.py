"""A parent's invitations, durable in ``invitations.sqlite`` (mode 0600) in its state folder.

The daemon and commands beside it open the file at the same time; what is read and changed within
one ``transaction`` is seen by nobody else half-way. This module keeps invitations; who may use one
is decided in ``desk``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from nodes.errors import NodeError
from nodes.peers.joining.token import ID_BYTES
from nodes.state.database import Database, Row
from protocol import Role, Scope

FILE = "invitations.sqlite"
MOST_LIVE = 1024
"""Invitations that are open or wait for a person; so many requests can be kept at most."""
MOST_KEPT = 4096
"""Of all, also those that ended: they are kept so that a lost answer can be asked for again."""
LEAST_ID = 6
"""Hex digits of an id by which an invitation may be named."""

_VERSION = 1
_SCHEMA = """
CREATE TABLE invitations (
    id BLOB PRIMARY KEY,
    secret BLOB NOT NULL,
    scope TEXT NOT NULL,
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    rank INTEGER,
    by_person INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    key TEXT NOT NULL DEFAULT '',
    request BLOB NOT NULL DEFAULT x'',
    asked TEXT NOT NULL DEFAULT '',
    asked_ms INTEGER NOT NULL DEFAULT 0,
    before TEXT NOT NULL DEFAULT ''
);
"""
_FIELDS = (
    "id, secret, scope, role, name, rank, by_person, created_ms, expires_ms, "
    "state, key, request, asked, asked_ms, before"
)


class State(StrEnum):
    """Where an invitation stands.

    ``open``: nobody used it. ``waiting``: a key used it, and a person decides. ``approved``: that
    key becomes a member now. ``used``: it became one. ``dismissed``: a person refused that key.
    ``withdrawn``: a person took the invitation back before anybody used it.
    """

    OPEN = "open"
    WAITING = "waiting"
    APPROVED = "approved"
    USED = "used"
    DISMISSED = "dismissed"
    WITHDRAWN = "withdrawn"


_CLAIMED = (State.WAITING, State.APPROVED)


@dataclass(frozen=True)
class Invitation:
    """What a parent knows of one token.

    Attributes:
        name: what the new node must be called; empty leaves that to it.
        rank: r, how many rows of the basis it trains; None for all.
        by_person: whether a person has to approve whoever uses it.
        key: id of the key that used it, hex; empty before.
        request: the signed request of that key.
        asked: the name in that request.
        before: digest of the certificate which that key had here before, empty without one.
    """

    id: bytes
    secret: bytes = field(repr=False)
    scope: Scope
    role: Role
    name: str
    rank: int | None
    by_person: bool
    created_ms: int
    expires_ms: int
    state: State = State.OPEN
    key: str = ""
    request: bytes = field(default=b"", repr=False)
    asked: str = ""
    asked_ms: int = 0
    before: str = ""

    @property
    def called(self) -> str:
        """A name for people: of the node that asked, or is to ask, else the id."""
        return self.asked or self.name or self.id.hex()

    def is_live(self, now_ms: int) -> bool:
        """Whether it can still lead to a member: open before its end, or claimed."""
        return self.state in _CLAIMED or (self.state is State.OPEN and now_ms <= self.expires_ms)


class Invitations:
    """The invitations of the node in ``folder``. Thread-safe.

    ``read_only`` makes no file: without one there are no invitations.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        path = folder / FILE
        self._database: Database | None = None
        if read_only and not path.exists():
            return
        if not read_only:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = Database(
            path,
            _SCHEMA,
            _VERSION,
            read_only=read_only,
            remedy="Delete it: the invitations in it are void then, and members stay members.",
        )

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()

    def __enter__(self) -> Invitations:
        """Return these invitations, which are closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Change invitations: all of the block or nothing, on disk at its end."""
        assert self._database is not None  # noqa: S101  nobody writes what was opened to be read
        with self._database.transaction():
            yield

    # -- what there is

    def all(self) -> list[Invitation]:
        """Return every invitation, the oldest first."""
        return self._read(f"SELECT {_FIELDS} FROM invitations ORDER BY created_ms, id")  # noqa: S608

    def live(self, now_ms: int) -> list[Invitation]:
        """Return the invitations that can still lead to a member, the oldest first."""
        return [invitation for invitation in self.all() if invitation.is_live(now_ms)]

    def get(self, id_: bytes) -> Invitation | None:
        """Return one invitation."""
        found = self._read(f"SELECT {_FIELDS} FROM invitations WHERE id = ?", id_)  # noqa: S608
        return found[0] if found else None

    def find(self, name: str, now_ms: int) -> Invitation:
        """Return the live invitation that a person names: by its node's name, or by its id.

        Raises ``NodeError`` ``no-invitation``, or ``many-invitations`` when several match.
        """
        live = self.live(now_ms)
        matching = [
            invitation
            for invitation in live
            if name in (invitation.asked, invitation.name)
            or (len(name) >= LEAST_ID and invitation.id.hex().startswith(name))
        ]
        waiting = [invitation for invitation in matching if invitation.state in _CLAIMED]
        matching = waiting or matching
        if not name or not matching:
            listed = ", ".join(sorted({invitation.called for invitation in live})) or "none"
            raise NodeError(
                "no-invitation",
                f"No open invitation and no waiting request is called {name!r}; there are: "
                f"{listed}. `banyan node invitations` lists them.",
            )
        if len(matching) > 1:
            ids = ", ".join(invitation.id.hex() for invitation in matching)
            raise NodeError(
                "many-invitations", f"Several match {name!r}; name one by its id: {ids}."
            )
        return matching[0]

    # -- what changes, each within a transaction

    def add(self, invitation: Invitation, now_ms: int) -> None:
        """Add an invitation, and forget the oldest ended ones above ``MOST_KEPT``.

        Raises ``NodeError`` ``too-many-invitations``.
        """
        kept = self.all()
        ended = [known for known in kept if not known.is_live(now_ms)]
        if len(kept) - len(ended) >= MOST_LIVE:
            raise NodeError(
                "too-many-invitations",
                f"There are {MOST_LIVE} open invitations already. Dismiss some with "
                "`banyan node dismiss`, or wait until they end.",
            )
        for known in ended[: max(0, len(kept) + 1 - MOST_KEPT)]:
            self._write("DELETE FROM invitations WHERE id = ?", known.id)
        values = (
            *(invitation.id, invitation.secret, str(invitation.scope), invitation.role.value),
            *(invitation.name, invitation.rank, invitation.by_person),
            *(invitation.created_ms, invitation.expires_ms, invitation.state.value),
        )
        self._write(
            "INSERT INTO invitations (id, secret, scope, role, name, rank, by_person, created_ms, "
            "expires_ms, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *values,
        )

    def claim(
        self,
        invitation: Invitation,
        *,
        key: str,
        request: bytes,
        asked: str,
        before: str,
        now_ms: int,
    ) -> Invitation:
        """Give an open invitation to one key, for good; return it as it is then."""
        state = State.WAITING if invitation.by_person else State.APPROVED
        self._write(
            "UPDATE invitations SET state = ?, key = ?, request = ?, asked = ?, asked_ms = ?, "
            "before = ? WHERE id = ?",
            *(state.value, key, request, asked, now_ms, before, invitation.id),
        )
        return replace(
            invitation,
            state=state,
            key=key,
            request=request,
            asked=asked,
            asked_ms=now_ms,
            before=before,
        )

    def reopen(self, invitation: Invitation) -> None:
        """Undo a claim that led to nothing."""
        self._write(
            "UPDATE invitations SET state = ?, key = '', request = x'', asked = '', asked_ms = 0, "
            "before = '' WHERE id = ?",
            *(State.OPEN.value, invitation.id),
        )

    def mark(self, invitation: Invitation, state: State) -> Invitation:
        """Change where an invitation stands; return it as it is then."""
        self._write("UPDATE invitations SET state = ? WHERE id = ?", state.value, invitation.id)
        return replace(invitation, state=state)

    # -- the file

    def _write(self, statement: str, *values: object) -> None:
        assert self._database is not None  # noqa: S101  nobody writes what was opened to be read
        self._database.write(statement, *values)

    def _read(self, query: str, *values: object) -> list[Invitation]:
        if self._database is None:
            return []
        return [_invitation(row) for row in self._database.read(query, *values)]


def _invitation(row: Row) -> Invitation:
    id_, secret, scope, role, name, rank, by_person, created_ms, expires_ms, *claimed = row
    state, key, request, asked, asked_ms, before = claimed
    return Invitation(
        id=id_,
        secret=secret,
        scope=Scope.parse(scope),
        role=Role(role),
        name=name,
        rank=rank,
        by_person=bool(by_person),
        created_ms=created_ms,
        expires_ms=expires_ms,
        state=State(state),
        key=key,
        request=request,
        asked=asked,
        asked_ms=asked_ms,
        before=before,
    )


def check_distinct(live: Sequence[Invitation], scope: Scope, role: Role, name: str) -> None:
    """Check that no live invitation has promised the same name, or the same scope, already.

    Raises ``NodeError`` ``duplicate-name``, ``scope-taken``.
    """
    for other in live:
        withdraw = f"`banyan node dismiss {other.id.hex()[: 2 * ID_BYTES]}` takes that back."
        if name and name in (other.name, other.asked):
            raise NodeError("duplicate-name", f"{name} is invited already. {withdraw}")
        if role is not Role.DEVICE and (other.role, other.scope) == (role, scope):
            raise NodeError("scope-taken", f"A node for {scope} is invited already. {withdraw}")
