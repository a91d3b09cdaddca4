"""What is readable about the API: the OpenAPI document, a page for people, a page for each problem.

Owns: the paths /openapi.json, /docs and /problems. Must not know any resource beyond its description.
"""

from collections.abc import Sequence

from aiohttp import web

from gateway.http.endpoint import Endpoint, encode
from gateway.http.openapi import openapi_document


def documentation_routes(described: Sequence[Endpoint], *, base_url: str) -> list[web.RouteDef]:
    """The documents are made once, at the start."""
    openapi = encode(openapi_document(described, base_url=base_url))

    async def document(_request: web.Request) -> web.Response:
        return web.Response(body=openapi, content_type="application/json")

    return [web.get("/openapi.json", document)]
