"""Signatures of webhooks, checked by the reference implementation."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from gateway.webhooks.signing import SECRET_BYTES, new_secret, secret_text, signed_headers


@given(
    body=st.binary(max_size=200).map(base64.b64encode),
    secret=st.binary(min_size=24, max_size=64),
)
def test_the_reference_implementation_accepts_what_we_sign(body: bytes, secret: bytes) -> None:
    headers = signed_headers(
        message_id="evt_1", at=datetime.now(UTC), body=b'"' + body + b'"', signing=[secret]
    )
    Webhook(secret_text(secret)).verify(b'"' + body + b'"', headers)


def test_a_changed_body_id_or_time_and_another_secret_are_rejected() -> None:
    secret, now = new_secret(), datetime.now(UTC)
    headers = signed_headers(message_id="evt_1", at=now, body=b"{}", signing=[secret])
    verifier = Webhook(secret_text(secret))
    for body, changed in (
        (b"[]", headers),
        (b"{}", headers | {"webhook-id": "evt_2"}),
        (b"{}", headers | {"webhook-timestamp": str(int(now.timestamp()) + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            verifier.verify(body, changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_text(new_secret())).verify(b"{}", headers)
    old = signed_headers(message_id="evt_1", at=now - timedelta(minutes=6), body=b"{}", signing=[secret])
    with pytest.raises(WebhookVerificationError):
        verifier.verify(b"{}", old)


def test_the_worked_example_of_the_specification() -> None:
    """Figures of the Standard Webhooks reference test: id, timestamp, body and secret give this signature."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=datetime.fromtimestamp(1614265330, UTC),
        body=b'{"test": 2432232314}',
        signing=[secret],
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_secret_in_force_signs() -> None:
    first, second = new_secret(), new_secret()
    headers = signed_headers(message_id="evt_1", at=datetime.now(UTC), body=b"{}", signing=[first, second])
    assert len(headers["webhook-signature"].split()) == 2
    for secret in (first, second):
        Webhook(secret_text(secret)).verify(b"{}", headers)


def test_secrets_are_fresh_and_of_the_length_that_the_specification_asks_for() -> None:
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    assert all(24 <= len(secret) <= 64 for secret in made)
    assert len(base64.b64decode(secret_text(new_secret()).removeprefix("whsec_"))) == SECRET_BYTES


def test_a_naive_time_or_no_secret_is_rejected() -> None:
    with pytest.raises(ValueError, match="aware"):
        signed_headers(message_id="x", at=datetime(2026, 1, 1), body=b"", signing=[b"s" * 32])  # noqa: DTZ001 - rejected
    with pytest.raises(ValueError, match="secret"):
        signed_headers(message_id="x", at=datetime.now(UTC), body=b"", signing=[])
