"""Signatures of webhooks, checked by the reference implementation."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from gateway.webhooks.signing import (
    SECRET_BYTES,
    SigningKey,
    WebhookScheme,
    new_secret,
    new_signing_key,
    public_key_text,
    read_signing_key,
    secret_text,
    signed_headers,
)


@given(
    body=st.binary(max_size=200).map(base64.b64encode),
    secret=st.binary(min_size=24, max_size=64),
)
def test_the_reference_implementation_accepts_what_we_sign(body: bytes, secret: bytes) -> None:
    headers = signed_headers(
        message_id="evt_1", at=datetime.now(UTC), body=b'"' + body + b'"', signing=[SigningKey(secret=secret)]
    )
    Webhook(secret_text(secret)).verify(b'"' + body + b'"', headers)


def test_a_changed_body_id_or_time_and_another_secret_are_rejected() -> None:
    secret, now = new_secret(), datetime.now(UTC)
    headers = signed_headers(message_id="evt_1", at=now, body=b"{}", signing=[SigningKey(secret=secret)])
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
    old = signed_headers(
        message_id="evt_1", at=now - timedelta(minutes=6), body=b"{}", signing=[SigningKey(secret=secret)]
    )
    with pytest.raises(WebhookVerificationError):
        verifier.verify(b"{}", old)


def test_the_worked_example_of_the_specification() -> None:
    """Figures of the Standard Webhooks reference test: id, timestamp, body and secret give this signature."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=datetime.fromtimestamp(1614265330, UTC),
        body=b'{"test": 2432232314}',
        signing=[SigningKey(secret=secret)],
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_secret_in_force_signs() -> None:
    first, second = new_secret(), new_secret()
    headers = signed_headers(
        message_id="evt_1",
        at=datetime.now(UTC),
        body=b"{}",
        signing=[SigningKey(secret=first), SigningKey(secret=second)],
    )
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
        signed_headers(
            message_id="x",
            at=datetime(2026, 1, 1),  # noqa: DTZ001 - rejected
            body=b"",
            signing=[SigningKey(secret=b"s" * 32)],
        )
    with pytest.raises(ValueError, match="key"):
        signed_headers(message_id="x", at=datetime.now(UTC), body=b"", signing=[])


# Key and figures of svix-server's `test_asymmetric_key_signing`; the specification shows the signature.
PUBLISHED_KEY = (
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
)
PUBLISHED_PUBLIC_KEY = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
PUBLISHED_SIGNATURE = (
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
)


def test_the_published_asymmetric_signature() -> None:
    """Ed25519 is deterministic (RFC 8032): the same key and text give the same signature everywhere."""
    key = read_signing_key(PUBLISHED_KEY)
    headers = signed_headers(
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=datetime.fromtimestamp(1614265330, UTC),
        body=b'{"test": 2432232314}',
        signing=[key],
    )
    assert headers["webhook-signature"] == PUBLISHED_SIGNATURE
    assert key.public_key is not None
    assert public_key_text(key.public_key) == PUBLISHED_PUBLIC_KEY


def test_keys_of_both_schemes_sign_one_message_and_each_receiver_finds_its_own() -> None:
    """As the specification's example: `v1,... v1a,...`; the library of v1 passes over the other one."""
    shared, pair = new_signing_key(WebhookScheme.SYMMETRIC), new_signing_key(WebhookScheme.ASYMMETRIC)
    headers = signed_headers(message_id="evt_1", at=datetime.now(UTC), body=b"{}", signing=[pair, shared])
    Webhook(secret_text(shared.secret)).verify(b"{}", headers)
    asymmetric, symmetric = headers["webhook-signature"].split()
    assert (asymmetric[:4], symmetric[:3]) == ("v1a,", "v1,")
    assert pair.public_key is not None
    proof = Ed25519PublicKey.from_public_bytes(pair.public_key)
    stamp = headers["webhook-timestamp"]
    proof.verify(base64.b64decode(asymmetric[4:]), f"evt_1.{stamp}.{{}}".encode())
    with pytest.raises(InvalidSignature):
        proof.verify(base64.b64decode(asymmetric[4:]), f"evt_2.{stamp}.{{}}".encode())


@pytest.mark.parametrize(
    "text", ["", "whpk_AAAA", "whsk_", "whsk_AAAA", "whsk_" + "A" * 86 + "==", "whsec_", "whsec_*"]
)
def test_what_is_no_signing_key_is_rejected_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_signing_key(text)
    assert not text or text not in str(caught.value)
