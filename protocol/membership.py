"""The members of one parent: one set of rules for who may join, be renewed, and be shut out.

The rules, each with its code:

- a node is neither its own child nor its own descendant, and one identity has one place
  (``duplicate-node``);
- a signing key belongs to one node for good, whether that node is a member, was revoked, or stands
  on the parent's path (``duplicate-key``); so does a transport key, the parent's own included
  (``duplicate-transport-key``);
- a node starts at key epoch 1; the same key keeps its epoch, a new key has the next one and is
  signed by the key before it, and no key comes back (``wrong-key-epoch``, ``bad-signature``);
- a scope has one interior node (``scope-taken``), a name one member (``duplicate-name``); whoever
  is revoked gives both up;
- a revoked member returns when it is enrolled again, by the same rules: that pardons it;
- a suspended member is heard as little as a revoked one, but keeps its name and its scope; it goes
  on when it is resumed, and by nothing else (``suspended``, ``not-suspended``). It can be revoked.

``check`` and its siblings decide and change nothing. ``enrol``, ``suspend``, ``resume`` and
``revoke`` apply what was decided, unconditionally: they fold a ledger, which may be older than a
rule. Nothing is read, written or signed here, and equal events make equal memberships.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from protocol.errors import Code, Refused
from protocol.identity import PublicKey
from protocol.ids import Digest, KeyId, NodeId
from protocol.members import Holding, Member, MembershipParts, keys_of, transport_of, used_by
from protocol.statements import Certificate
from protocol.transport import transport_digest


@dataclass
class Membership:
    """Who was enrolled at one parent, with what, and who was suspended or revoked.

    Args:
        path: the verified certificates from the root to the parent, both included.

    Attributes:
        active: the enrolled nodes that are neither suspended nor revoked, in order.
    """

    path: tuple[Certificate, ...] = field(default=(), compare=False)
    active: tuple[NodeId, ...] = field(default=(), init=False)
    _members: dict[NodeId, Member] = field(default_factory=dict, init=False)
    _revoked: set[NodeId] = field(default_factory=set, init=False)
    _suspended: set[NodeId] = field(default_factory=set, init=False)
    _departures: dict[NodeId, int] = field(default_factory=dict, init=False)
    _keepers: dict[Holding, NodeId] = field(default_factory=dict, init=False)
    """Whose a key is for good: the first node that had it."""
    _users: dict[Holding, frozenset[NodeId]] = field(default_factory=dict, init=False)
    """Which members, active or suspended, have a name or a scope."""

    # -- what is known

    def get(self, node: NodeId) -> Member | None:
        """The member as it was last enrolled, whatever became of it."""
        return self._members.get(node)

    def is_revoked(self, node: NodeId) -> bool:
        """Whether the node is revoked now."""
        return node in self._revoked

    @property
    def revoked(self) -> tuple[NodeId, ...]:
        """The nodes that are revoked now, in order."""
        return tuple(sorted(self._revoked))

    def is_suspended(self, node: NodeId) -> bool:
        """Whether the node is suspended now."""
        return node in self._suspended

    @property
    def suspended(self) -> tuple[NodeId, ...]:
        """The nodes that are suspended now, in order."""
        return tuple(sorted(self._suspended))

    @property
    def members(self) -> tuple[Member, ...]:
        """All as they were last enrolled, whatever became of them."""
        return tuple(self._members.values())

    @property
    def departures(self) -> Mapping[NodeId, int]:
        """How often each node was suspended or revoked: it may have been let in again since."""
        return self._departures

    def to_plain(self) -> MembershipParts:
        """All that was recorded, as values that can be written down."""
        return MembershipParts(
            members=self.members,
            revoked=self.revoked,
            suspended=self.suspended,
            departures=dict(self._departures),
            keepers=tuple((*holding, node) for holding, node in self._keepers.items()),
            users=tuple((*holding, tuple(sorted(n))) for holding, n in self._users.items()),
        )

    @classmethod
    def from_plain(cls, parts: MembershipParts, path: tuple[Certificate, ...]) -> Membership:
        """The membership of which ``to_plain`` gave the parts."""
        membership = cls(path)
        membership._members = {member.node: member for member in parts.members}
        membership._revoked = set(parts.revoked)
        membership._suspended = set(parts.suspended)
        membership._departures = dict(parts.departures)
        membership._keepers = {(kind, value): node for kind, value, node in parts.keepers}
        membership._users = {(kind, value): frozenset(n) for kind, value, n in parts.users}
        out = membership._revoked | membership._suspended
        membership.active = tuple(sorted(membership._members.keys() - out))
        return membership

    # -- what may be done

    def check(self, member: Member, previous_key_signed: bool = False) -> None:
        """Check that a certificate may be signed and recorded: a new member, a renewal, a pardon.

        Args:
            previous_key_signed: whether the member's key of now signed the certificate of its new
                key.

        Raises ``Refused``: ``suspended``, ``duplicate-node``, ``duplicate-key``,
        ``wrong-key-epoch``, ``bad-signature``, ``duplicate-transport-key``, ``scope-taken``,
        ``duplicate-name``.
        """
        if member.node in self._suspended:
            raise Refused(
                Code.SUSPENDED,
                f"{self._members[member.node].name} is suspended, and enrolling it again does not "
                "end that: resume it, or revoke it first.",
            )
        self._check_path(member)
        known = self._members.get(member.node)
        if known and (known.scope, known.role) != (member.scope, member.role):
            raise Refused(
                Code.DUPLICATE_NODE,
                f"{member.name} is enrolled as the {known.role} of {known.scope}, not the "
                f"{member.role} of {member.scope}: one identity has one place. Make a new request.",
            )
        for key in keys_of(member):
            self._check_keeper(member, key, Code.DUPLICATE_KEY, "signing key")
        self._check_epoch(member, known, previous_key_signed)
        self._check_keeper(
            member, transport_of(member), Code.DUPLICATE_TRANSPORT_KEY, "transport key"
        )
        self._check_unused(member)

    def check_revocation(self, node: NodeId) -> None:
        """Check that a node is a member, active or suspended.

        Raises ``Refused`` ``not-a-member``.
        """
        self._check_member(node)

    def check_suspension(self, node: NodeId) -> None:
        """Check that a node is an active member.

        Raises ``Refused`` ``not-a-member``, or ``suspended`` when it is that already.
        """
        member = self._check_member(node)
        if node in self._suspended:
            raise Refused(Code.SUSPENDED, f"{member.name} is suspended already.")

    def check_resumption(self, node: NodeId) -> None:
        """Check that a node is suspended.

        Raises ``Refused`` ``not-a-member``, or ``not-suspended`` when it is an active member.
        """
        member = self._check_member(node)
        if node not in self._suspended:
            raise Refused(Code.NOT_SUSPENDED, f"{member.name} is not suspended.")

    # -- what was done

    def enrol(self, member: Member) -> None:
        """Take a member in, renew it, or let it in again. One that is suspended stays so."""
        node = member.node
        self._give_up(node)
        self._members[node] = member
        self._revoked.discard(node)
        for holding in (*keys_of(member), transport_of(member)):
            self._keepers.setdefault(holding, node)
        for holding in used_by(member):
            self._users[holding] = self._users.get(holding, frozenset()) | {node}
        if node not in self._suspended:
            self._enter(node)

    def renew(self, node: NodeId, certificate: Digest) -> None:
        """Take note of a member's new certificate, which differs from the last in its validity."""
        self._members[node] = replace(self._members[node], certificate=certificate)

    def suspend(self, node: NodeId) -> None:
        """Hear a node no more, until it is resumed."""
        if node not in self._revoked:
            self._leave(node)
            self._suspended.add(node)

    def resume(self, node: NodeId) -> None:
        """Let a suspended node go on."""
        if node in self._suspended:
            self._suspended.remove(node)
            self._enter(node)

    def revoke(self, node: NodeId) -> None:
        """Shut a node out."""
        self._give_up(node)
        self._leave(node)
        self._suspended.discard(node)
        self._revoked.add(node)

    def _enter(self, node: NodeId) -> None:
        """Put a node among the active ones."""
        if node not in self.active:
            active = list(self.active)
            insort(active, node)
            self.active = tuple(active)

    def _leave(self, node: NodeId) -> None:
        """Take a node from the active ones, and count that."""
        self.active = tuple(other for other in self.active if other != node)
        self._departures[node] = self._departures.get(node, 0) + 1

    def _give_up(self, node: NodeId) -> None:
        """Take a member's name and scope, unless it has lost them before."""
        if node in self._members and node not in self._revoked:
            for holding in used_by(self._members[node]):
                self._users[holding] -= {node}

    # -- the rules

    def _check_member(self, node: NodeId) -> Member:
        member = self._members.get(node)
        if member is None:
            raise Refused(Code.NOT_A_MEMBER, f"Node {node[:12]}… was never enrolled here.")
        if node in self._revoked:
            raise Refused(
                Code.NOT_A_MEMBER, f"{member.name} is no member any more; it was revoked before."
            )
        return member

    def _check_path(self, member: Member) -> None:
        for above in self.path:
            where = "this parent itself" if above is self.path[-1] else f"{above.name}, above it"
            key = PublicKey.from_raw(above.public_key).keyid
            if member.node == above.node:
                raise Refused(
                    Code.DUPLICATE_NODE,
                    f"{member.name} has the id of {where}: a node is no child of its own. "
                    "Make a new request in a folder of its own.",
                )
            if {KeyId(member.node), member.key} & {KeyId(above.node), key}:
                raise Refused(
                    Code.DUPLICATE_KEY,
                    f"{member.name} has the signing key of {where}. "
                    "Make a new request in a folder of its own.",
                )
        if self.path and member.transport == transport_digest(self.path[-1].transport_key):
            raise Refused(
                Code.DUPLICATE_TRANSPORT_KEY,
                f"{member.name} has the transport key of this parent itself. "
                "Make a new request in a folder of its own.",
            )

    def _check_keeper(self, member: Member, holding: Holding, code: Code, what: str) -> None:
        keeper = self._keepers.get(holding, member.node)
        if keeper != member.node:
            raise Refused(
                code,
                f"{member.name} has the {what} of {self._members[keeper].name}, "
                f"node {keeper[:12]}…. Make a new request in a folder of its own.",
            )

    def _check_epoch(self, new: Member, known: Member | None, previous_key_signed: bool) -> None:
        if known is None:
            if new.epoch != 1:
                raise Refused(
                    Code.WRONG_KEY_EPOCH,
                    f"{new.name} was never enrolled here, and starts at key epoch 1; "
                    f"the certificate says {new.epoch}.",
                )
            return
        same_key = new.key == known.key
        if not same_key and ("key", new.key) in self._keepers:
            raise Refused(
                Code.WRONG_KEY_EPOCH,
                f"{new.name} has replaced key {new.key[:12]}…; a key does not come back.",
            )
        if new.epoch != known.epoch + (not same_key):
            raise Refused(
                Code.WRONG_KEY_EPOCH,
                f"{new.name} is at key epoch {known.epoch}; the certificate says "
                f"{new.epoch} for {'the same' if same_key else 'a new'} key.",
            )
        if not same_key and not previous_key_signed:
            raise Refused(
                Code.BAD_SIGNATURE,
                f"The new key of {new.name} is not signed by its key of now, {known.key[:12]}….",
            )

    def _check_unused(self, member: Member) -> None:
        for kind, value in used_by(member):
            others = self._users.get((kind, value), frozenset()) - {member.node}
            for other in sorted(others):
                name = self._members[other].name
                if kind == "scope":
                    raise Refused(
                        Code.SCOPE_TAKEN,
                        f"{value} has a node already, {name}. Revoke that one first, or enrol "
                        f"{member.name} for another scope.",
                    )
                raise Refused(
                    Code.DUPLICATE_NAME,
                    f"There is a member called {name} already, node {other[:12]}…. "
                    "Choose another name.",
                )
