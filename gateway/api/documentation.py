"""What is readable about the API: the OpenAPI document, a page for people, a page for each problem.

Owns: the paths /openapi.json, /docs and /problems. Must not know any resource beyond its description.
"""

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from gateway.api import pages, problems
from gateway.api.endpoint import ApiEndpoint, encode
from gateway.api.openapi import openapi_document
from gateway.api.services import ApiServices

_Page = Callable[[web.Request], Awaitable[web.Response]]


def documentation_routes(services: ApiServices, described: Sequence[ApiEndpoint]) -> list[web.RouteDef]:
    """The documents are made once, at the start; they hold nothing secret and need no key."""
    base_url = services.options.base_url
    document = openapi_document(described, base_url=base_url)
    openapi, reference, catalog = (
        encode(document),
        pages.reference_page(document, base_url=base_url),
        pages.problems_page(),
    )

    async def machine(_request: web.Request) -> web.Response:
        return web.Response(
            body=openapi,
            content_type="application/json",
            headers={"Cache-Control": pages.HEADERS["Cache-Control"]},
        )

    async def people(_request: web.Request) -> web.Response:
        return _html(reference)

    async def all_problems(_request: web.Request) -> web.Response:
        return _html(catalog)

    async def one_problem(request: web.Request) -> web.Response:
        kind = problems.CATALOG.get(request.match_info["code"])
        if kind is None:
            raise web.HTTPNotFound
        return _html(pages.problem_page(kind))

    readable = {
        "/openapi.json": machine,
        "/docs": people,
        "/problems": all_problems,
        "/problems/{code}": one_problem,
    }
    return [web.get(path, _limited(services, page)) for path, page in readable.items()]


def _limited(services: ApiServices, page: _Page) -> _Page:
    """The page, as often as an address may read without a key."""

    async def answer(request: web.Request) -> web.Response:
        services.addresses.check(request)
        services.addresses.count(request)
        return await page(request)

    return answer


def _html(page: str) -> web.Response:
    return web.Response(text=page, content_type="text/html", headers=pages.HEADERS)
