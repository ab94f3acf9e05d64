"""A parent signs what became of an update, and only for the child that sent it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nodes.errors import NodeError
from nodes.parent.receipt_desk import ReceiptDesk
from nodes.parent.withdrawal import withdraw
from nodes.peers.receipts import ReceiptService
from nodes.releases.receipt_proof import Proof, prove
from nodes.releases.rollback import roll_back
from nodes.state.event_codec import events_of
from nodes.state.events import UpdateRefused, UpdateSent
from protocol import Digest, Envelope, Fate, NodeId, Receipt, digest_of, open_envelope
from protocol.peer_pb2 import ReceiptRequest
from tests.nodes.toy import Member, Tree, tree


@pytest.fixture
def network(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member]]:
    """A root and its plain device."""
    with tree(tmp_path, base) as made:
        root = made.root()
        root.toy.target = np.ones(root.node.size, np.float32)
        yield made, root, made.child(root, "device", "/", root.toy.target)


def sent(device: Member) -> list[Digest]:
    updates = []
    for event in events_of(device.node.ledger, UpdateSent):
        assert isinstance(event, UpdateSent)
        updates.append(event.update)
    return updates


def proof(root: Member, device: Member, update: Digest) -> Proof:
    receipt, release = ReceiptDesk(root.node).receipt(device.node.home.id, update)
    return prove(
        receipt.encode(),
        release,
        network=device.node.home.network,
        parent=root.node.home.certificate,
        child=device.node.home.id,
        update=update,
    )


def test_a_counted_update_has_a_receipt_with_its_release(
    network: tuple[Tree, Member, Member],
) -> None:
    made, root, device = network
    root.rounds()
    (update,) = sent(device)
    proven = proof(root, device, update)
    assert not proven.contradiction and proven.release is not None
    said = proven.receipt
    assert (said.fate, said.code, said.round, said.version) == (Fate.COUNTED, "", 1, 2)
    assert said.share == 1.0
    made.restart(root)
    assert proof(root, device, update).receipt == said


def test_one_that_waits_and_one_of_a_void_round(network: tuple[Tree, Member, Member]) -> None:
    made, root, device = network
    for name in "abc":
        made.child(root, name, "/", root.toy.target)
    root.members = {"device": device}
    root.rounds()
    (update,) = sent(device)
    assert proof(root, device, update).receipt.fate is Fate.WAITING
    root.close_round()
    said = proof(root, device, update).receipt
    assert (said.fate, said.code, said.release) == (Fate.LEFT_OUT, "void", "")


def test_one_that_the_gate_refused_with_its_round(network: tuple[Tree, Member, Member]) -> None:
    _, root, device = network
    root.toy.target = -root.toy.target
    root.rounds()
    said = proof(root, device, sent(device)[0]).receipt
    assert (said.fate, said.code) == (Fate.LEFT_OUT, "refused-by-gate")


def test_one_that_admission_refused(network: tuple[Tree, Member, Member]) -> None:
    _, root, device = network
    assert root.parent is not None
    root.advance(2000)
    (asked,) = root.parent.step()
    kind, blobs = device.child().answer(asked.blobs)
    broken = blobs | {"payload": blobs["payload"][:-1] + b"!"}
    root.parent.receive(device.node.home.id, asked.task, kind, broken)
    (update,) = sent(device)
    said = proof(root, device, update).receipt
    assert (said.fate, said.code, said.version) == (Fate.REFUSED, "wrong-digest", 0)
    # Its task is answered: the same again is no update of its own.
    root.parent.receive(device.node.home.id, asked.task, kind, blobs)
    again = list(events_of(root.node.ledger, UpdateRefused))[-1]
    assert isinstance(again, UpdateRefused)
    assert (again.code, again.update) == ("replayed", "")
    root.close_round()
    root.rounds()  # the next release names it
    named = proof(root, device, update)
    assert named.receipt.version and not named.contradiction
    assert named.receipt.fate is Fate.REFUSED


def test_what_was_taken_out_again(network: tuple[Tree, Member, Member]) -> None:
    _, root, device = network
    root.rounds()
    (update,) = sent(device)
    withdraw(root.node, device.node.home.id)
    said = proof(root, device, update)
    assert not said.contradiction
    assert (said.receipt.fate, said.receipt.code) == (Fate.WITHDRAWN, "withdrawn")
    assert said.receipt.version == root.node.state.own.version


def test_what_a_rollback_undid(network: tuple[Tree, Member, Member]) -> None:
    _, root, device = network
    root.rounds()
    (update,) = sent(device)
    roll_back(root.node, 1)
    said = proof(root, device, update)
    assert not said.contradiction
    assert (said.receipt.fate, said.receipt.code) == (Fate.WITHDRAWN, "undone")
    assert said.receipt.version == 2  # of the release that had counted it


def test_nobody_gets_another_childs_receipt(network: tuple[Tree, Member, Member]) -> None:
    made, root, device = network
    other = made.child(root, "other", "/", root.toy.target)
    root.rounds()
    (update,) = sent(device)
    sentences = []
    for child, asked in (
        (other.node.home.id, update),
        (other.node.home.id, digest_of(b"nothing")),
        (NodeId(digest_of(b"stranger")), update),
    ):
        with pytest.raises(NodeError) as refused:
            ReceiptDesk(root.node).receipt(child, asked)
        assert refused.value.code == "unknown-update"
        sentences.append(refused.value.sentence.replace(asked[:12], "…"))
    assert len(set(sentences)) == 1  # nor does it learn that there is one


def test_the_service_answers_the_member_that_calls(network: tuple[Tree, Member, Member]) -> None:
    _, root, device = network
    root.rounds()

    class Caller:
        member = device.node.home.id

    service = ReceiptService(ReceiptDesk(root.node))
    (update,) = sent(device)
    reply = service.receipt(Caller(), ReceiptRequest(update=bytes.fromhex(update)))
    sealed = Envelope.decode(reply.receipt)
    said = open_envelope(sealed, Receipt, root.node.home.key.public)
    assert said.fate is Fate.COUNTED
    assert Envelope.decode(reply.release).digest == said.release
    with pytest.raises(NodeError) as refused:
        service.receipt(Caller(), ReceiptRequest(update=b"short"))
    assert refused.value.code == "malformed"
