"""What a node holds, as a fold over its ledger: ``apply`` takes an event and nothing else.

After a crash a node reads its ledger from the start and is exactly where its last durable step
left it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aggregation.gate import Budget
from nodes.state.records import (
    ZERO,
    Counted,
    HeldRelease,
    Install,
    OpenRound,
    Published,
    Seated,
    Sent,
    StandIn,
    Trained,
    Withdrawn,
)
from protocol import LIMITS, Digest, KeyId, Member, Membership, NodeId, Role, Scope

ANSWERED_ROUNDS = 2 * LIMITS.max_staleness
"""A parent takes answers to tasks of so many rounds ago; a late one sits in the round after."""

OFFENCES = 2
"""Updates outvoted and far from the rest, or signed and yet unusable: then quarantine."""


@dataclass
class NodeState:
    """Everything that must survive a crash."""

    # The node's own adapter a, its baseline b, its releases.
    version: int = 0
    adapter: Digest = ZERO
    baseline: Digest = ZERO
    releases: dict[Digest, HeldRelease] = field(default_factory=dict)
    published: dict[int, Published] = field(default_factory=dict)
    undone: list[tuple[int, int]] = field(default_factory=list)  # own versions (after, until]
    moves: int = 0  # changes of the effective model other than by rounds
    latest: HeldRelease | None = None
    sequence: int = 0
    # The chain above, as installed.
    snapshot: Digest | None = None
    snapshot_envelope: Digest | None = None
    snapshot_sequence: int = 0
    ancestors: tuple[HeldRelease, ...] = ()
    installs: list[Install] = field(default_factory=list)
    # Upwards: what was sent and not yet counted; who contributed since the baseline.
    sent: dict[Digest, Sent] = field(default_factory=dict)
    contributions: list[tuple[int, NodeId]] = field(default_factory=list)
    counted_offers: list[Counted] = field(default_factory=list)
    fresh_counts: list[Digest] = field(default_factory=list)  # counted since the last install
    baseline_ms: int = 0
    trained: Trained | None = None
    seen_parent_release: Digest | None = None
    # Downwards: rounds.
    next_round: int = 1
    open_round: OpenRound | None = None
    counted: dict[NodeId, int] = field(default_factory=dict)
    membership: Membership = field(default_factory=Membership)
    offences: dict[NodeId, int] = field(default_factory=dict)
    withdrawn: list[Withdrawn] = field(default_factory=list)
    stand_ins: dict[NodeId, StandIn] = field(default_factory=dict)
    round_releases: list[int] = field(default_factory=list)  # versions made by rounds
    # What the gate has used, and the best state for each source of probes.
    gate_tests: int = 0
    probe_uses: dict[str, dict[str, int]] = field(default_factory=dict)
    best_held: dict[str, list[tuple[int, Digest]]] = field(default_factory=dict)
    moment: int = 0  # orders changes of what the node holds

    @property
    def budget(self) -> Budget:
        """What the gate has used. A promotion is a release: a crash may come before it."""
        return Budget(self.gate_tests, len(self.round_releases))

    def contributors(self) -> int:
        """Distinct children whose updates were released since the baseline."""
        return len({child for _, child in self.contributions})

    def is_quarantined(self, child: NodeId) -> bool:
        """Whether this child offended so often that its updates get no weight.

        They are still received and recorded. Enrolling the child again is a person's pardon.
        """
        return self.offences.get(child, 0) >= OFFENCES

    def is_undone(self, version: int) -> bool:
        """Whether a rollback has taken back this version of the node's own."""
        return any(after < version <= until for after, until in self.undone)

    def age_of(self, started: int) -> int:
        """How many releases made by rounds came after version ``started``.

        A re-base release changes no effective model, so it makes no update staler.
        """
        return sum(version > started for version in self.round_releases)

    def apply(self, kind: str, body: Mapping[str, Any], at_ms: int) -> None:
        """Take one event of the ledger. Kinds that only inform change nothing."""
        if handler := getattr(self, "_on_" + kind.replace("-", "_"), None):
            handler(body, at_ms)

    # -- membership

    def _on_member_enrolled(self, body: Mapping[str, Any], _: int) -> None:
        self.membership.enrol(_member(body))
        self.offences.pop(body["child"], None)

    def _on_member_revoked(self, body: Mapping[str, Any], _: int) -> None:
        self.membership.revoke(body["child"])
        self.stand_ins.pop(body["child"], None)
        if self.open_round:  # its update waits for nothing any more
            self.open_round.seated.pop(body["child"], None)
        self.sequence += 1

    # -- the chain above and the node's own adapter

    def _on_chain_installed(self, body: Mapping[str, Any], at_ms: int) -> None:
        self.snapshot, self.snapshot_envelope = body["snapshot"], body["envelope"]
        self.snapshot_sequence = body["sequence"]
        self.ancestors = tuple(HeldRelease(**entry) for entry in body["chain"])
        self.seen_parent_release = self.ancestors[-1].release
        if "brought" in body:
            self._followed(body)
        self.baseline_ms = self.baseline_ms or at_ms

    def _followed(self, body: Mapping[str, Any]) -> None:
        """The chain above changed, and a node's own adapter moved with it."""
        effect = body.get("effect", ZERO)
        gone, undone = body["undone"]["installs"], body["undone"]["offers"]
        taken_back = [self.installs[i] for i in gone]
        self.installs = [x for i, x in enumerate(self.installs) if i not in gone]
        self._on_offer_again([self.counted_offers[i] for i in undone])
        self.counted_offers = [x for i, x in enumerate(self.counted_offers) if i not in undone]
        if taken_back:
            self._forget_best(min(install.moment for install in taken_back))
        brought = {scope: (after, until) for scope, (after, until) in body["brought"].items()}
        self.moment += 1
        self.installs.append(Install(brought, effect, self.moment))
        self.moves += any(x != ZERO for x in (effect, *(i.effect for i in taken_back)))
        if "adapter" in body:  # the baseline and every sent copy moved alike
            self.adapter = body["adapter"]
            self._displace(body["baseline"], body["copies"])
            self.fresh_counts = []

    def _on_offer_again(self, offers: Sequence[Counted]) -> None:
        """The parent counts these no longer: who contributed to them has something to offer."""
        held = [c for offer in offers for c in offer.contributions]
        self.contributions = [*(c for c in held if self._stands(*c)), *self.contributions]

    def _stands(self, version: int, child: NodeId) -> bool:
        """Whether what a child contributed to a release of this node's is still part of it."""
        taken_out = any(w.child == child and version in w.moved for w in self.withdrawn)
        return not (self.is_undone(version) or taken_out)

    def _forget_best(self, moment: int) -> None:
        """What was best since then was held by what is undone now."""
        for source, held in self.best_held.items():
            self.best_held[source] = [(at, digest) for at, digest in held if at < moment]

    @property
    def best(self) -> dict[str, Digest]:
        """For each source of probes the best state that this node ever held, and that stands.

        A person who releases by hand decides what is good: from then on it counts anew.
        """
        by_hand = (
            published.moment
            for version, published in self.published.items()
            if published.kind == "by-hand" and not self.is_undone(version)
        )
        since = max(by_hand, default=0)
        last = {source: held[-1] for source, held in self.best_held.items() if held}
        return {source: digest for source, (at, digest) in last.items() if at > since}

    def _displace(self, baseline: Digest, copies: Mapping[Digest, Digest]) -> None:
        self.baseline = baseline
        self.sent = {
            update: replace(sent, copy=copies.get(update, sent.copy))
            for update, sent in self.sent.items()
        }

    def _on_released(self, body: Mapping[str, Any], at_ms: int) -> None:
        held = HeldRelease(**body["held"])
        self.version, self.adapter, self.latest = held.version, held.adapter, held
        self.releases[held.release] = held
        self.moment += 1
        self.published[held.version] = Published(held, body["kind"], body["moved"], self.moment)
        self.undone = [(after, until) for after, until in body["undone"]]
        self.sequence += 1
        self.baseline_ms = self.baseline_ms or at_ms
        if body["kind"] == "round":
            self.round_releases.append(held.version)
            for child in body["accepted"]:
                self.counted[child] = held.version
                self.contributions.append((held.version, child))
            self._remember(body, held.version)
            for verdict in body["verdicts"]:
                if verdict["code"] == "outvoted":
                    self._offended(verdict["node"])
            self.open_round = None
        if body["kind"] == "by-hand":
            self.moves += 1
        if body["kind"] in ("rollback", "withdrawal"):
            self.moves += 1
            self.contributions = [c for c in self.contributions if self._stands(*c)]
            if body["kind"] == "rollback":
                self._forget_best(self.published[self.undone[-1][0] + 1].moment)
            taken_back = {verdict["update"] for verdict in body["verdicts"]}
            self.stand_ins = {
                c: s
                for c, s in self.stand_ins.items()
                if not self.is_undone(s.version) and s.seat.update not in taken_back
            }

    def _on_withdrawn(self, body: Mapping[str, Any], _: int) -> None:
        moved = {int(version): digest for version, digest in body["moved"].items()}
        self.withdrawn.append(Withdrawn(body["child"], body["version"], moved))
        self.contributions = [c for c in self.contributions if self._stands(*c)]
        self._forget_best(self.published[min(moved)].moment)
        self.stand_ins.pop(body["child"], None)

    def _remember(self, body: Mapping[str, Any], version: int) -> None:
        """Who can be stood in for: what is counted once, as a whole, is not repeated."""
        seated = self.open_round.seated if self.open_round else {}
        for child in body["accepted"]:
            self.stand_ins.pop(child, None)
            if child in seated and not seated[child].cumulative:
                self.stand_ins[child] = StandIn(seated[child], version)
        for verdict in body["verdicts"]:
            held = self.stand_ins.get(verdict["node"])
            if verdict["verdict"] == "stand-in" and held:
                self.stand_ins[verdict["node"]] = replace(held, stood=held.stood + 1)

    # -- upwards

    def _on_trained(self, body: Mapping[str, Any], _: int) -> None:
        self.trained = Trained(body["round"], body["delta"], body["started"], body["samples"])
        if "adapter" in body:  # of a personal device
            self.adapter = body["adapter"]
            self.version += 1

    def _on_update_sent(self, body: Mapping[str, Any], _: int) -> None:
        # What became of an update from before then is known, or it was lost.
        oldest = body["round"] - ANSWERED_ROUNDS - 1
        self.sent = {update: sent for update, sent in self.sent.items() if sent.round >= oldest}
        self.sent[body["update"]] = Sent(body["copy"], body["version"], body["round"])

    def _on_offer_counted(self, body: Mapping[str, Any], at_ms: int) -> None:
        sent = self.sent.pop(body["update"])
        self.baseline, self.baseline_ms = sent.copy, at_ms
        held = tuple(c for c in self.contributions if c[0] <= sent.version)
        self.counted_offers.append(Counted(body["update"], body["version"], body["delta"], held))
        self.fresh_counts.append(body["delta"])
        self.contributions = [c for c in self.contributions if c[0] > sent.version]

    def _on_offer_settled(self, body: Mapping[str, Any], _: int) -> None:
        self.sent.pop(body["update"], None)

    def _on_offer_withdrawn(self, body: Mapping[str, Any], _: int) -> None:
        (gone,) = (c for c in self.counted_offers if c.update == body["update"])
        self.counted_offers.remove(gone)
        self._on_offer_again([gone])
        if gone.delta in self.fresh_counts:
            self.fresh_counts.remove(gone.delta)
        self._displace(body["baseline"], body["copies"])

    def _on_receipts_read(self, body: Mapping[str, Any], _: int) -> None:
        self.seen_parent_release = body["upto"]

    # -- rounds

    def _on_round_opened(self, body: Mapping[str, Any], _: int) -> None:
        self.open_round = OpenRound(body["round"], body["deadline_ms"])
        self.next_round = body["round"] + 1

    def _on_update_accepted(self, body: Mapping[str, Any], _: int) -> None:
        shut_out = self.membership.is_revoked(body["child"])  # while its update was admitted
        if self.open_round and self.open_round.round == body["round"] and not shut_out:
            self.open_round.seated[body["child"]] = Seated(**body["seat"])

    def _on_update_refused(self, body: Mapping[str, Any], _: int) -> None:
        # Only what the child itself signed counts against it; anybody can send rubbish in its name.
        if body["claimed"]:
            self._offended(body["child"])

    def _offended(self, child: NodeId) -> None:
        self.offences[child] = self.offences.get(child, 0) + 1

    def _on_gate(self, _: Mapping[str, Any], __: int) -> None:
        self.gate_tests += 1

    def _on_probes_used(self, body: Mapping[str, Any], _: int) -> None:
        for source, names in body["probes"].items():
            uses = self.probe_uses.setdefault(source, {})
            for name in names:
                uses[name] = uses.get(name, 0) + 1

    def _on_best_held(self, body: Mapping[str, Any], _: int) -> None:
        self.moment += 1
        for source, digest in body["best"].items():
            self.best_held.setdefault(source, []).append((self.moment, digest))

    def _on_round_closed(self, _: Mapping[str, Any], __: int) -> None:
        self.open_round = None


def _member(body: Mapping[str, Any]) -> Member:
    """The member of a ``member-enrolled`` event.

    Before version 2 it named no key, as that was the node's first, nor the transport key: ``Node``
    reads that from the certificate.
    """
    return Member(
        node=body["child"],
        key=KeyId(body.get("key", body["child"])),
        transport=body.get("transport", ZERO),
        epoch=body.get("epoch", 1),
        scope=Scope.parse(body["scope"]),
        role=Role(body["role"]),
        name=body["name"],
        certificate=body["certificate"],
    )
