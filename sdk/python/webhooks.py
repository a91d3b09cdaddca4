"""Webhooks of networkcore: the signature is checked before anything is read.

Verify the bytes as received, before any parsing, and answer 2xx soon; a repeat has the same `id`.
"""

import json
from collections.abc import Mapping

from standardwebhooks import Webhook, WebhookVerificationError

from .models.event import Event

__all__ = ["Event", "WebhookVerificationError", "verify_webhook"]


def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str) -> Event:
    """The event of an authentic webhook.

    Raises WebhookVerificationError, also for one that was signed more than 5 minutes ago.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise WebhookVerificationError("the body is not text") from error
    Webhook(secret).verify(text, dict(headers), json_parse=False)
    return Event.from_dict(json.loads(text))
