"""Webhooks of networkcore: the signature is checked before anything is read.

Verify the bytes as received, before any parsing, and answer 2xx soon; a repeat has the same `id`.
"""

import base64
import json
import time
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from .models.event import Event

__all__ = ["Event", "WebhookVerificationError", "verify_webhook"]
_PUBLIC_KEY = "whpk_"
_SCHEME = "v1a,"
_TOLERANCE_S = 300


def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str) -> Event:
    """The event of an authentic webhook.

    `secret` is the endpoint's shared secret (`whsec_...`), or its public key (`whpk_...`) where it signs with
    v1a. Raises WebhookVerificationError, also for one that was signed more than 5 minutes ago.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise WebhookVerificationError("the body is not text") from error
    if secret.startswith(_PUBLIC_KEY):
        _verify_asymmetric(body, {name.lower(): value for name, value in headers.items()}, secret)
    else:
        Webhook(secret).verify(text, dict(headers), json_parse=False)
    return Event.from_dict(json.loads(text))


def _verify_asymmetric(body: bytes, headers: Mapping[str, str], public_key: str) -> None:
    """Check the v1a signatures (Ed25519) of Standard Webhooks 1.0: one of them is by this key."""
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    message_id, stamp, signatures = (headers.get(name, "") for name in names)
    if not (message_id and signatures and stamp.isascii() and stamp.isdigit()):
        raise WebhookVerificationError("a header is missing or unusable")
    if abs(time.time() - int(stamp)) > _TOLERANCE_S:
        raise WebhookVerificationError("the message was not signed within five minutes")
    try:
        encoded = base64.b64decode(public_key.removeprefix(_PUBLIC_KEY), validate=True)
        key = Ed25519PublicKey.from_public_bytes(encoded)
    except ValueError as error:
        raise WebhookVerificationError("the public key is not whpk_ and 32 bytes in base64") from error
    content = f"{message_id}.{stamp}.".encode() + body
    for one in signatures.split(" "):
        if not one.startswith(_SCHEME):
            continue
        try:
            key.verify(base64.b64decode(one.removeprefix(_SCHEME), validate=True), content)
        except (ValueError, InvalidSignature):
            continue
        return
    raise WebhookVerificationError("no signature is by this key")
