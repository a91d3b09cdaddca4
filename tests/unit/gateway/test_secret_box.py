"""Signing secrets at rest: sealed for one endpoint, opened by any key that is held, refused by name else."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.notify.secret_box import SecretBox
from gateway.store.webhooks import StoredSecret

ONE, OTHER = UUID(int=1), UUID(int=2)
OLD, NEW = ("2025-01", b"o" * 32), ("2026-11", b"n" * 32)


@given(secret=st.binary(min_size=24, max_size=64))
def test_what_is_sealed_opens_to_the_same_bytes_and_does_not_show_them(secret: bytes) -> None:
    box = SecretBox((NEW,))
    sealed = box.seal(ONE, secret)
    assert sealed.key == "2026-11"
    assert secret not in sealed.content
    assert len(sealed.content) == 12 + len(secret) + 16
    assert sealed.content != box.seal(ONE, secret).content  # a nonce of its own each time
    assert box.open(ONE, sealed) == secret


def test_without_a_key_a_secret_stays_in_the_clear_and_one_of_before_opens_with_any_box() -> None:
    plain = SecretBox().seal(ONE, b"s" * 32)
    assert plain == StoredSecret(key=None, content=b"s" * 32)
    assert SecretBox((NEW,)).open(ONE, plain) == b"s" * 32


def test_the_first_key_seals_and_every_key_opens() -> None:
    old = SecretBox((OLD,)).seal(ONE, b"s" * 32)
    both = SecretBox((NEW, OLD))
    assert both.open(ONE, old) == b"s" * 32
    assert both.seal(ONE, b"s" * 32).key == "2026-11"


def test_a_sealed_secret_of_one_endpoint_is_no_secret_of_another() -> None:
    box = SecretBox((NEW,))
    with pytest.raises(ConfigurationError):
        box.open(OTHER, box.seal(ONE, b"s" * 32))


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (SecretBox(), "sealed with the key '2025-01', which NETWORKCORE_WEBHOOK_SECRET_KEYS lacks"),
        (SecretBox((NEW,)), "sealed with the key '2025-01', which NETWORKCORE_WEBHOOK_SECRET_KEYS lacks"),
        (SecretBox((("2025-01", b"x" * 32),)), "does not open with the key '2025-01'"),
    ],
)
def test_a_key_that_is_gone_or_another_of_its_name_is_named(box: SecretBox, said: str) -> None:
    sealed = SecretBox((OLD,)).seal(ONE, b"s" * 32)
    with pytest.raises(ConfigurationError, match=said):
        box.open(ONE, sealed)


def test_neither_a_box_nor_a_stored_secret_shows_its_bytes() -> None:
    shown = repr((SecretBox((NEW,)), StoredSecret(key=None, content=b"hunter2")))
    assert "nnnn" not in shown
    assert "hunter2" not in shown
