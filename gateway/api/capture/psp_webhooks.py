"""The PSP's webhooks: authentic over the raw body, kept once, answered fast.

Owns: the path and what the PSP is answered. Must not know what an event means. Only a signature proves the
sender, so the path takes no API key; after a 4xx the PSP gives up, after a 5xx it repeats. An address that
sends bodies that are not authentic is turned away before they are read.
"""

from aiohttp import web

from gateway.api import request_bodies
from gateway.api.services import ApiServices
from gateway.payments.psp.port import WebhookRejectedError


def psp_webhook_routes(services: ApiServices) -> list[web.RouteDef]:
    """POST /v1/psp/webhooks."""
    options = services.options

    async def receive(request: web.Request) -> web.Response:
        services.addresses.check(request)
        body = await request_bodies.read_body(
            request, limit=options.max_body_bytes, timeout_seconds=options.body_timeout_seconds
        )
        payments = services.payments
        signature = request.headers.get(payments.psp.signature_header, "")
        try:
            await payments.receive_psp_webhook(body=body, signature=signature)
        except WebhookRejectedError:
            services.addresses.count(request)
            raise
        return web.json_response({"received": True})

    return [web.post("/v1/psp/webhooks", receive)]
