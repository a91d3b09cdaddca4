"""Signatures of outbound webhooks, by the Standard Webhooks specification.

Owns: keys in their text form, what is signed, the three headers. Must not know what an event means or when it
is sent. The signed text is `{id}.{timestamp}.{body}`; each key in force gives one signature, so that a
receiver may change over while both are valid. `v1` is HMAC-SHA256 with a shared secret; `v1a` is Ed25519: the
receiver has only the public key, and can't sign in our name.
Source: standardwebhooks.com, specification 1.0 (signature scheme); RFC 8032 (Ed25519); RFC 8037 (its JWK).
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix of every secret, not one
PRIVATE_KEY_PREFIX: Final = "whsk_"
PUBLIC_KEY_PREFIX: Final = "whpk_"
SECRET_BYTES: Final = 32
_SEED_BYTES: Final = 32


class WebhookScheme(StrEnum):
    """How messages are signed: the identifier before each signature."""

    SYMMETRIC = "v1"
    ASYMMETRIC = "v1a"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """What signs: a shared secret of 24 to 64 bytes, or the 32 bytes of an Ed25519 private key."""

    scheme: WebhookScheme = WebhookScheme.SYMMETRIC
    secret: bytes = field(repr=False)

    def sign(self, content: bytes) -> str:
        """The signature with its identifier, as `webhook-signature` holds it."""
        if self.scheme is WebhookScheme.SYMMETRIC:
            signature = hmac.digest(self.secret, content, hashlib.sha256)
        else:
            signature = Ed25519PrivateKey.from_private_bytes(self.secret).sign(content)
        return f"{self.scheme.value},{_text(signature)}"

    @property
    def public_key(self) -> bytes | None:
        """The 32 bytes that prove an asymmetric signature; None for a shared secret."""
        if self.scheme is WebhookScheme.SYMMETRIC:
            return None
        return Ed25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw()


def new_secret() -> bytes:
    """Fresh random bytes to sign with; either scheme takes them."""
    return secrets.token_bytes(SECRET_BYTES)


def new_signing_key(scheme: WebhookScheme) -> SigningKey:
    """A fresh key of a scheme. Any 32 bytes are an Ed25519 private key (RFC 8032 section 5.1.5)."""
    return SigningKey(scheme=scheme, secret=new_secret())


def secret_text(secret: bytes) -> str:
    """The text of a shared secret that a receiver configures: `whsec_` and base64."""
    return SECRET_PREFIX + _text(secret)


def public_key_text(public_key: bytes) -> str:
    """The text of a public key that a receiver configures: `whpk_` and base64."""
    return PUBLIC_KEY_PREFIX + _text(public_key)


def read_signing_key(text: str) -> SigningKey:
    """The key of a `whsec_` or `whsk_` text; the latter holds the private key, alone or with its public one.

    Raises:
        ValueError: it is neither; the text is not in the message.
    """
    for prefix, scheme in (
        (SECRET_PREFIX, WebhookScheme.SYMMETRIC),
        (PRIVATE_KEY_PREFIX, WebhookScheme.ASYMMETRIC),
    ):
        if text.startswith(prefix):
            return _checked(scheme, base64.b64decode(text.removeprefix(prefix), validate=True))
    raise ValueError("a signing key begins with whsec_ or whsk_")


def _checked(scheme: WebhookScheme, content: bytes) -> SigningKey:
    if scheme is WebhookScheme.SYMMETRIC:
        if not content:
            raise ValueError("the secret is empty")
        return SigningKey(secret=content)
    key = SigningKey(scheme=scheme, secret=content[:_SEED_BYTES])
    if len(content) < _SEED_BYTES or content[_SEED_BYTES:] not in {b"", key.public_key}:
        raise ValueError("a private key is 32 bytes, or 64 with its public key")
    return key


def signed_headers(
    *, message_id: str, at: datetime, body: bytes, signing: Sequence[SigningKey]
) -> dict[str, str]:
    """The headers of one message, signed with each key of `signing`; `at` is wall time.

    Raises:
        ValueError: `at` is naive, or there is nothing to sign with.
    """
    if at.tzinfo is None:
        raise ValueError("a signature needs an aware time")
    if not signing:
        raise ValueError("a message needs at least one key")
    stamp = str(int(at.timestamp()))
    content = f"{message_id}.{stamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(key.sign(content) for key in signing),
    }


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
