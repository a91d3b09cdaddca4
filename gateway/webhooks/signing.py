"""Signatures of outbound webhooks, by the Standard Webhooks specification.

Owns: secrets in their text form, what is signed, the three headers. Must not know what an event means or
when it is sent. The signed text is `{id}.{timestamp}.{body}`; each secret in force gives one `v1,`
signature, so that a receiver may change over while both are valid.
Source: standardwebhooks.com, specification 1.0 (symmetric signatures).
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix of every secret, not one
SECRET_BYTES: Final = 32


def new_secret() -> bytes:
    """Fresh random bytes to sign with."""
    return secrets.token_bytes(SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """The text that a receiver configures: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(secret).decode("ascii")


def signed_headers(*, message_id: str, at: datetime, body: bytes, signing: Sequence[bytes]) -> dict[str, str]:
    """The headers of one message, signed with each secret of `signing`; `at` is wall time.

    Raises:
        ValueError: `at` is naive, or there is nothing to sign with.
    """
    if at.tzinfo is None:
        raise ValueError("a signature needs an aware time")
    if not signing:
        raise ValueError("a message needs at least one secret")
    stamp = str(int(at.timestamp()))
    content = f"{message_id}.{stamp}.".encode() + body
    signatures = [
        "v1," + base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode("ascii")
        for secret in signing
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(signatures),
    }
