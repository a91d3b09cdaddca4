"""Signing secrets at rest.

Encrypted for one endpoint, decrypted by any key that is configured; a missing key is named.
"""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.webhooks.repository import SecretRecord
from gateway.webhooks.secret_cipher import SecretCipher

ONE, OTHER = UUID(int=1), UUID(int=2)
OLD, NEW = ("2025-01", b"o" * 32), ("2026-11", b"n" * 32)


@given(secret=st.binary(min_size=24, max_size=64))
def test_an_encrypted_secret_decrypts_to_the_same_bytes_and_does_not_show_them(secret: bytes) -> None:
    cipher = SecretCipher((NEW,))
    encrypted = cipher.encrypt(ONE, secret)
    assert encrypted.key == "2026-11"
    assert secret not in encrypted.content
    assert len(encrypted.content) == 12 + len(secret) + 16
    assert encrypted.content != cipher.encrypt(ONE, secret).content  # a nonce of its own each time
    assert cipher.decrypt(ONE, encrypted) == secret


def test_without_a_key_a_secret_stays_in_the_clear_and_an_older_clear_one_is_read_with_any_cipher() -> None:
    plain = SecretCipher().encrypt(ONE, b"s" * 32)
    assert plain == SecretRecord(key=None, content=b"s" * 32)
    assert SecretCipher((NEW,)).decrypt(ONE, plain) == b"s" * 32


def test_the_first_key_encrypts_and_every_key_decrypts() -> None:
    old = SecretCipher((OLD,)).encrypt(ONE, b"s" * 32)
    both = SecretCipher((NEW, OLD))
    assert both.decrypt(ONE, old) == b"s" * 32
    assert both.encrypt(ONE, b"s" * 32).key == "2026-11"


def test_an_encrypted_secret_of_one_endpoint_is_no_secret_of_another() -> None:
    cipher = SecretCipher((NEW,))
    with pytest.raises(ConfigurationError):
        cipher.decrypt(OTHER, cipher.encrypt(ONE, b"s" * 32))


@pytest.mark.parametrize(
    ("cipher", "message"),
    [
        (SecretCipher(), "encrypted with the key '2025-01', which NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS lacks"),
        (
            SecretCipher((NEW,)),
            "encrypted with the key '2025-01', which NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS lacks",
        ),
        (SecretCipher((("2025-01", b"x" * 32),)), "can't be decrypted with the key '2025-01'"),
    ],
)
def test_a_missing_key_or_another_of_its_name_is_named(cipher: SecretCipher, message: str) -> None:
    encrypted = SecretCipher((OLD,)).encrypt(ONE, b"s" * 32)
    with pytest.raises(ConfigurationError, match=message):
        cipher.decrypt(ONE, encrypted)


def test_neither_a_cipher_nor_a_stored_secret_shows_its_bytes() -> None:
    shown = repr((SecretCipher((NEW,)), SecretRecord(key=None, content=b"hunter2")))
    assert "nnnn" not in shown
    assert "hunter2" not in shown
