"""What is readable about the API: the OpenAPI document, a page for people, a page for each problem.

Owns: the paths /openapi.json, /docs and /problems. Must not know any resource beyond its description.
"""

from collections.abc import Sequence

from aiohttp import web

from gateway.api import pages, problems
from gateway.api.endpoint import ApiEndpoint, encode
from gateway.api.openapi import openapi_document


def documentation_routes(described: Sequence[ApiEndpoint], *, base_url: str) -> list[web.RouteDef]:
    """The documents are made once, at the start; they hold nothing secret and need no key."""
    document = openapi_document(described, base_url=base_url)
    openapi, reference, catalog = (
        encode(document),
        pages.reference_page(document, base_url=base_url),
        pages.problems_page(),
    )

    async def machine(_request: web.Request) -> web.Response:
        return web.Response(body=openapi, content_type="application/json")

    async def people(_request: web.Request) -> web.Response:
        return _html(reference)

    async def all_problems(_request: web.Request) -> web.Response:
        return _html(catalog)

    async def one_problem(request: web.Request) -> web.Response:
        kind = problems.CATALOG.get(request.match_info["code"])
        if kind is None:
            raise web.HTTPNotFound
        return _html(pages.problem_page(kind))

    return [
        web.get("/openapi.json", machine),
        web.get("/docs", people),
        web.get("/problems", all_problems),
        web.get("/problems/{code}", one_problem),
    ]


def _html(page: str) -> web.Response:
    return web.Response(text=page, content_type="text/html", headers=pages.SECURITY_HEADERS)
