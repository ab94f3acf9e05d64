"""Attack: sign with a key that is not the member's, or change what was signed."""

from dataclasses import replace

from protocol import Code, Envelope, SigningKey, Update, banyan_pb2, seal
from protocol.envelope import Signature
from tests.protocol.world import (
    ABSTENTION,
    ALICE,
    ALICE_KEY,
    BOB,
    BOB_KEY,
    HOUR,
    NOW,
    PARENT_KEY,
    STRANGER_KEY,
    UPDATE,
    World,
    node_of,
    refused,
)

HONEST = seal(UPDATE, ALICE_KEY)


def test_an_intruder_without_membership_is_refused() -> None:
    update = replace(UPDATE, node=node_of(STRANGER_KEY))
    with refused(Code.NOT_A_MEMBER):
        World().admit(update, key=STRANGER_KEY, sender=None)


def test_an_intruder_in_a_member_s_name_is_refused() -> None:
    with refused(Code.UNKNOWN_KEY):
        World().admit(key=STRANGER_KEY)


def test_an_intruder_with_a_member_s_key_id_is_refused() -> None:
    forged = seal(UPDATE, STRANGER_KEY).signatures[0].sig
    labelled = (Signature(ALICE_KEY.public.keyid, forged),)
    envelope = Envelope(HONEST.payload_type, HONEST.payload, labelled)
    with refused(Code.BAD_SIGNATURE):
        World().admit(envelope.encode())


def test_a_member_that_signs_in_another_s_name_is_refused() -> None:
    with refused(Code.WRONG_NODE):
        World().admit(UPDATE, key=BOB_KEY, sender=BOB.node)


def test_the_parent_cannot_speak_for_its_child() -> None:
    with refused(Code.UNKNOWN_KEY):
        World().admit(key=PARENT_KEY)


def test_any_changed_byte_of_the_payload_breaks_the_signature() -> None:
    world = World()
    for at in range(len(HONEST.payload)):
        changed = bytearray(HONEST.payload)
        changed[at] ^= 1
        envelope = Envelope(HONEST.payload_type, bytes(changed), HONEST.signatures)
        with refused(Code.BAD_SIGNATURE):
            world.admit(envelope.encode())


def test_a_re_serialised_statement_is_not_the_signed_one() -> None:
    # Protobuf reads fields in any order; the signature is over the bytes, not over the meaning.
    message = banyan_pb2.Update.FromString(HONEST.payload)
    scope = message.scope
    message.ClearField("scope")
    reordered = message.SerializeToString() + b"\x22" + bytes([len(scope)]) + scope.encode()
    assert Update.from_bytes(reordered) == UPDATE
    with refused(Code.BAD_SIGNATURE):
        World().admit(Envelope(HONEST.payload_type, reordered, HONEST.signatures).encode())


def test_an_abstention_does_not_pass_for_an_update() -> None:
    with refused(Code.UNKNOWN_TYPE):
        World().admit(seal(ABSTENTION, ALICE_KEY).encode())


def test_a_relabelled_abstention_does_not_pass_for_an_update() -> None:
    sealed = seal(ABSTENTION, ALICE_KEY)
    relabelled = Envelope(Update.PAYLOAD_TYPE, sealed.payload, sealed.signatures)
    with refused(Code.BAD_SIGNATURE):
        World().admit(relabelled.encode())


def test_a_revoked_member_is_refused() -> None:
    world = World()
    world.membership.revoke(ALICE.node)
    with refused(Code.REVOKED):
        world.admit()


def test_a_suspended_member_is_refused_until_it_is_resumed() -> None:
    world = World()
    world.membership.suspend(ALICE.node)
    with refused(Code.SUSPENDED):
        world.admit()
    world.membership.resume(ALICE.node)
    world.admit()


def test_a_replaced_key_signs_no_more() -> None:
    world, new = World(), SigningKey.generate()
    successor = replace(ALICE, public_key=new.public.raw, key_epoch=2)
    world.enrol(seal(successor, PARENT_KEY).signed_also_by(ALICE_KEY))
    with refused(Code.WRONG_KEY_EPOCH):
        world.admit()


def test_a_new_key_does_not_speak_for_an_old_epoch() -> None:
    world, new = World(), SigningKey.generate()
    successor = replace(ALICE, public_key=new.public.raw, key_epoch=2)
    world.enrol(seal(successor, PARENT_KEY).signed_also_by(ALICE_KEY))
    with refused(Code.WRONG_KEY_EPOCH):
        world.admit(key=new)


def test_a_new_key_speaks_for_its_node() -> None:
    world, new = World(), SigningKey.generate()
    successor = replace(ALICE, public_key=new.public.raw, key_epoch=2)
    world.enrol(seal(successor, PARENT_KEY).signed_also_by(ALICE_KEY))
    assert world.admit(replace(UPDATE, key_epoch=2), key=new).update.node == ALICE.node


def test_a_member_whose_certificate_has_expired_is_refused() -> None:
    with refused(Code.CERTIFICATE_EXPIRED):
        World().admit(now_ms=NOW + 2 * HOUR)
