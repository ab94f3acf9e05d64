"""Who wishes the tree ill: a malicious device, and somebody on the wire.

The device is enrolled and has a key. In answer to its tasks it sends what an attack of
``simulations.attacks`` makes; besides, it signs whatever may do harm. Whoever is on the wire sees
all mail, and sends it again, changed, mixed or elsewhere, in anybody's name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nodes.child.offer import Offer, OfferSource
from protocol import Envelope, PayloadFormat, Task, Update, digest_of, encode_delta, seal
from protocol.envelope import Signature
from protocol.tensors import write_tensors
from simulations.attacks.forgery import answer_to
from simulations.chaos.nature import SIZE
from simulations.world.members import Mail, Member

_KEPT = 256
"""Mails that whoever is on the wire remembers."""


@dataclass
class Conduct:
    """Whether the malicious device has become honest."""

    honest: bool = False


@dataclass(frozen=True)
class DefectorsOffers:
    """The offers of a device that sends what an attack makes, until it becomes honest."""

    conduct: Conduct
    attack: OfferSource
    honest: OfferSource

    def offer(self, task: Task) -> Offer:
        """Offer what the attack makes, or what the device's own training does."""
        return (self.honest if self.conduct.honest else self.attack).offer(task)


@dataclass
class Enemy:
    """Makes one hostile mail at a time.

    Args:
        members: of the whole tree.
    """

    rng: random.Random
    members: list[Member]
    _answers: list[Mail] = field(default_factory=list)
    _tasks: list[Mail] = field(default_factory=list)

    def see(self, mail: Mail) -> None:
        """Remember what passes by."""
        kept = self._tasks if mail.kind == "task" else self._answers
        if len(kept) < _KEPT:
            kept.append(mail)
        else:
            kept[self.rng.randrange(_KEPT)] = mail

    def strike(self, now_ms: int) -> tuple[str, Mail] | None:
        """A hostile mail and what it is, if there is anything to make it from."""
        name = self.rng.choice(list(_STRIKES))
        mail = _STRIKES[name](self, now_ms)
        return None if mail is None else (name, mail)

    # -- on the wire

    def _answer(self) -> Mail | None:
        return self.rng.choice(self._answers) if self._answers else None

    def _task(self) -> Mail | None:
        return self.rng.choice(self._tasks) if self._tasks else None

    def _recent(self) -> Mail | None:
        return self.rng.choice(self._answers[-4:]) if self._answers else None

    def _other_task(self) -> Mail | None:
        answer, other = self._answer(), self._answer()
        return replace(answer, task=other.task) if answer and other else None

    def _other_name(self) -> Mail | None:
        answer = self._answer()
        return replace(answer, sender=self._child_of(answer.to)) if answer else None

    def _other_parent(self) -> Mail | None:
        answer, task = self._answer(), self._task()
        if answer is None or task is None:
            return None
        sender = self._child_of(task.sender)
        return replace(answer, sender=sender, to=task.sender, task=task.task)

    def _other_child(self) -> Mail | None:
        task, other = self._task(), self._task()
        return replace(task, to=other.to, sender=other.sender) if task and other else None

    def _mixed_task(self) -> Mail | None:
        task, other = self._task(), self._task()
        blobs = {**other.blobs, "task": task.blobs["task"]} if task and other else {}
        return replace(task, blobs=blobs) if task and other else None

    def _changed(self, mail: Mail | None) -> Mail | None:
        return replace(mail, blobs=self._mutated(mail.blobs)) if mail else None

    def _nonsense(self) -> Mail | None:
        answer = self._answer()
        kinds = ("gradient", "update", "abstention")
        return replace(answer, kind=self.rng.choice(kinds), blobs={}) if answer else None

    def _mutated(self, blobs: Mapping[str, bytes]) -> dict[str, bytes]:
        rng, found = self.rng, dict(sorted(blobs.items()))
        name = rng.choice(list(found))
        data = bytearray(found[name])
        match rng.randrange(4):
            case 0 if data:
                for _ in range(rng.randint(1, 3)):
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 1:
                del data[rng.randrange(len(data) + 1) :]
            case 2:
                data += rng.randbytes(rng.randint(1, 40))
            case _:
                del found[name]
                return found
        return {**found, name: bytes(data)}

    def _child_of(self, parent: int) -> int:
        children = [m.place.id for m in self.members if m.place.parent == parent]
        return self.rng.choice(children)

    # -- with a key

    def _forged(self, now_ms: int) -> Mail | None:
        """What the malicious device signs: one or two things about it are wrong, or none."""
        traitor = next(m for m in self.members if m.place.attacker)
        mine = [mail for mail in self._tasks if mail.to == traitor.place.id]
        if not mine:
            return None
        mail = self.rng.choice(mine[-3:])
        payload = self._payload(PayloadFormat(_task_of(mail).payload_format))
        update = self._update(traitor, mail, payload, now_ms)
        twists = self.rng.sample(sorted(_TWISTS), self.rng.randint(0, 2))
        for twist in twists:
            update = replace(update, **_TWISTS[twist](update))
        sealed = seal(update, traitor.node.home.key)
        sent = self._sent(mail, sealed, payload)
        return replace(sent, task=self.rng.choice(mine).task) if self.rng.random() < 0.2 else sent

    def _other_key(self, now_ms: int) -> Mail | None:
        """In the name of an honest device, signed by the malicious one."""
        traitor = next(m for m in self.members if m.place.attacker)
        mail = self._task()
        if mail is None:
            return None
        victim = self.members[mail.to]
        payload = self._payload(PayloadFormat(_task_of(mail).payload_format))
        sealed = seal(self._update(victim, mail, payload, now_ms), traitor.node.home.key)
        if self.rng.random() < 0.5:
            signature = Signature(victim.node.home.key.public.keyid, sealed.signatures[0].sig)
            sealed = Envelope(sealed.payload_type, sealed.payload, (signature,))
        return self._sent(mail, sealed, payload)

    def _false_parent(self) -> Mail | None:
        """A task signed by the malicious device, or a chain of which it signed a part."""
        traitor = next(m for m in self.members if m.place.attacker)
        mail = self._task()
        if mail is None:
            return None
        name = self.rng.choice([n for n in sorted(mail.blobs) if not n.startswith("adapter/")])
        sealed = Envelope.decode(mail.blobs[name])
        key = traitor.node.home.key
        signature = Signature(sealed.signatures[0].keyid, key.sign(sealed.signed_bytes))
        false = Envelope(sealed.payload_type, sealed.payload, (signature,))
        return replace(mail, blobs={**mail.blobs, name: false.encode()})

    def _update(self, child: Member, mail: Mail, payload: bytes, now_ms: int) -> Update:
        """An update that answers a task as it should."""
        return answer_to(
            _task_of(mail),
            child.node.home.id,
            payload,
            now_ms=now_ms,
            samples=1,
            lifetime_ms=3_600_000,
            cumulative=self.rng.random() < 0.3,
        )

    def _payload(self, form: PayloadFormat) -> bytes:
        """Values that pass, or that no parent should read."""
        seed = self.rng.getrandbits(32)
        values = np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)
        match self.rng.randrange(8):
            case 0:
                return write_tensors({"theta": np.full(SIZE, np.nan, np.float32)})
            case 1:
                return write_tensors({"theta": np.full(SIZE, 1e38, np.float32)})
            case 2:
                scale = np.full(1, self.rng.choice((np.inf, -1.0, 3e38)), np.float32)
                return write_tensors({"q": np.full(SIZE, 127, np.int8), "scale": scale})
            case 3:
                return write_tensors({"theta": np.zeros(SIZE + 1, np.float32)})
            case 4:
                # At least one byte: an update that states an empty payload cannot be written.
                return self.rng.randbytes(self.rng.randint(0, 300)) or b"\0"
            case 5:
                return encode_delta(values * np.float32(20), form)
            case _:
                return encode_delta(values, form)

    def _sent(self, mail: Mail, sealed: Envelope, payload: bytes) -> Mail:
        blobs = {"envelope": sealed.encode(), "payload": payload}
        return Mail(mail.to, mail.sender, "update", mail.task, blobs)


def _task_of(mail: Mail) -> Task:
    return Task.from_bytes(Envelope.decode(mail.blobs["task"]).payload)


_TWISTS: Mapping[str, Callable[[Update], dict[str, Any]]] = {
    "future version": lambda u: {"version": u.version + 3},
    "stale version": lambda u: {"version": max(1, u.version - 7)},
    "another round": lambda u: {"round": u.round + 1},
    "another nonce": lambda u: {"nonce": bytes(32)},
    "another attempt": lambda u: {"attempt": u.attempt + 1},
    "another length": lambda u: {"length": u.length + 1},
    "another payload": lambda u: {"payload": digest_of(b"another")},
    "many samples": lambda u: {"samples": 10**9, "contributors": 10**9},
    "an epoch later": lambda u: {"key_epoch": 2},
    "from the future": lambda u: {
        "issued_ms": u.issued_ms + 600_000,
        "expires_ms": u.expires_ms + 600_000,
    },
    "for ever": lambda u: {"expires_ms": u.issued_ms + 10**12},
    "expired": lambda u: {
        "issued_ms": u.issued_ms - 7_200_000,
        "expires_ms": u.issued_ms - 3_600_000,
    },
}
"""What may be wrong with a signed update."""

_STRIKES: Mapping[str, Callable[[Enemy, int], Mail | None]] = {
    "replay": lambda enemy, _: enemy._answer(),
    "replay of the last": lambda enemy, _: enemy._recent(),  # it may be too early, not too late
    "answer to another task": lambda enemy, _: enemy._other_task(),
    "answer in another name": lambda enemy, _: enemy._other_name(),  # that of a sibling
    "answer to another parent": lambda enemy, _: enemy._other_parent(),  # one that did not ask
    "old task": lambda enemy, _: enemy._task(),
    "task to another child": lambda enemy, _: enemy._other_child(),  # of any parent
    "mixed task": lambda enemy, _: enemy._mixed_task(),  # with what came with another
    "mutated answer": lambda enemy, _: enemy._changed(enemy._answer()),
    "mutated task": lambda enemy, _: enemy._changed(enemy._task()),
    "nonsense": lambda enemy, _: enemy._nonsense(),  # an answer of no known kind
    "forged update": lambda enemy, now_ms: enemy._forged(now_ms),
    "signed with another key": lambda enemy, now_ms: enemy._other_key(now_ms),
    "false parent": lambda enemy, _: enemy._false_parent(),
}
