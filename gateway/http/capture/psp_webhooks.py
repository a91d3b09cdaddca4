"""The PSP's webhooks: authentic over the raw body, kept once, answered fast.

Owns: the path and what the PSP hears. Must not know what an event means. Only a signature proves the
sender, so the path takes no API key; a 4xx tells the PSP that a repeat is useless, a 5xx asks for one.
"""

from typing import Final

from aiohttp import web

from gateway.http import bodies
from gateway.http.services import ApiServices

_SIGNATURE_HEADER: Final = "Stripe-Signature"


def psp_webhook_routes(services: ApiServices) -> list[web.RouteDef]:
    """POST /v1/psp/webhooks."""
    options = services.options

    async def take(request: web.Request) -> web.Response:
        body = await bodies.read_body(
            request, limit=options.max_body_bytes, timeout_seconds=options.body_timeout_seconds
        )
        signature = request.headers.get(_SIGNATURE_HEADER, "")
        await services.payments.psp_webhook(body=body, signature=signature)
        return web.json_response({"received": True})

    return [web.post("/v1/psp/webhooks", take)]
