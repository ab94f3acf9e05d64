"""Keys: they sign, they are kept to their owner, and weak ones are refused."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from protocol import Code, ProtocolError, PublicKey, SigningKey
from tests.protocol.world import refused


def test_a_signature_holds_for_its_data() -> None:
    key = SigningKey.generate()
    key.public.verify(key.sign(b"data"), b"data")


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\xff" * 64, b"\1" * 65])
def test_something_else_is_no_signature(signature: bytes) -> None:
    with refused(Code.BAD_SIGNATURE):
        SigningKey.generate().public.verify(signature, b"data")


def test_a_signature_does_not_hold_for_other_data() -> None:
    key = SigningKey.generate()
    with refused(Code.BAD_SIGNATURE):
        key.public.verify(key.sign(b"data"), b"Data")


def test_a_signature_does_not_hold_for_another_key() -> None:
    signature = SigningKey.generate().sign(b"data")
    with refused(Code.BAD_SIGNATURE):
        SigningKey.generate().public.verify(signature, b"data")


def test_a_saved_key_is_the_same_key(tmp_path: Path) -> None:
    key = SigningKey.generate()
    key.save(tmp_path / "identity.pem")
    assert SigningKey.load(tmp_path / "identity.pem").public == key.public


def test_a_saved_key_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    path.write_text("an older file that anybody may read")
    path.chmod(0o644)
    SigningKey.generate().save(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_saving_leaves_nothing_but_the_key(tmp_path: Path) -> None:
    SigningKey.generate().save(tmp_path / "identity.pem")
    assert [path.name for path in tmp_path.iterdir()] == ["identity.pem"]


def test_a_key_that_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "identity.pem").mkdir()
    with pytest.raises(OSError, match=r"identity\.pem"):
        SigningKey.generate().save(tmp_path / "identity.pem")
    assert [path.name for path in tmp_path.iterdir()] == ["identity.pem"]


def _another_kind_of_key() -> bytes:
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("content", [b"", b"not a key", _another_kind_of_key()])
def test_a_file_that_holds_no_ed25519_key_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity.pem"
    path.write_bytes(content)
    with pytest.raises(ProtocolError, match=r"identity\.pem") as raised:
        SigningKey.load(path)
    assert raised.value.code is Code.BAD_KEY_FILE


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match=r"identity\.pem") as raised:
        SigningKey.load(tmp_path / "identity.pem")
    assert raised.value.code is Code.BAD_KEY_FILE


def test_a_private_key_does_not_show_itself() -> None:
    key = SigningKey.generate()
    assert repr(key) == f"SigningKey({key.public.keyid[:12]}…)"


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_public_key_has_32_bytes(length: int) -> None:
    with refused(Code.MALFORMED):
        PublicKey.from_raw(b"\2" * length)


def test_bytes_that_are_no_point_are_no_key() -> None:
    with refused(Code.MALFORMED):
        PublicKey.from_raw((2).to_bytes(32, "little"))
