"""What a driver's app may do with the publishable key: make a payment method, finish one intent of its own.

Owns: which paths, and that the client secret is the intent's. Must not know: what a handler does.
Source: docs.stripe.com/keys (publishable keys); docs.stripe.com/api/payment_intents/object (client_secret).
"""

import hmac
import re
from typing import Final

from sandbox.stripe.access import CARD_PATH, PspRequest
from sandbox.stripe.forms import Params
from sandbox.stripe.problems import Json, PspProblem
from sandbox.stripe.state import PspState

_INTENT: Final = re.compile(r"/v1/(?P<kind>payment_intents|setup_intents)/(?P<id>\w+)(?P<verb>/confirm)?\Z")
_HIDDEN: Final = ("metadata", "customer", "latest_charge", "latest_attempt", "mandate", "description")


def is_client(state: PspState, request: PspRequest) -> bool:
    """Whether the request comes with the publishable key."""
    return request.key == state.settings.publishable_key


def check_client_call(state: PspState, request: PspRequest, params: Params) -> None:
    """Allow what an app may do. Raises PspProblem (403, 400)."""
    if request.method == "POST" and request.path == CARD_PATH:
        return
    found = _INTENT.match(request.path)
    allowed = found is not None and (request.method == "POST") == (found["verb"] is not None)
    if found is None or not allowed:
        raise PspProblem(
            "This API call cannot be made with a publishable API key. Please use a secret API key.",
            status=403,
            code="secret_key_required",
        )
    intent = state.peek(found["kind"].removesuffix("s"), found["id"])
    secret = params.text("client_secret") or ""
    if intent is None or not hmac.compare_digest(secret, intent["client_secret"]):
        raise PspProblem(
            "The client_secret provided does not match any associated intent on this account.",
            code="resource_missing",
            param="intent",
            status=404,
        )


def visible_to_client(payload: Json) -> Json:
    """An object as an app sees it: without what is the platform's own."""
    return {name: value for name, value in payload.items() if name not in _HIDDEN}
