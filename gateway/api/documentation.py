"""What is readable about the API: the OpenAPI document, a page for people, a page for each problem.

Owns: the paths /, /openapi.json, /reference, /docs and /problems. Must not know any resource beyond its
description.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Final

from aiohttp import web

from gateway.api import pages, problems, reference
from gateway.api.endpoint import ApiEndpoint, encode
from gateway.api.openapi import openapi_document
from gateway.api.reference import Reference, build_reference
from gateway.api.services import ApiServices

_FOUND: Final = 302
_FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_Page = Callable[[web.Request], Awaitable[web.Response]]


def documentation_routes(services: ApiServices, described: Sequence[ApiEndpoint]) -> list[web.RouteDef]:
    """The documents are made once, at the start; they hold nothing secret and need no key."""
    base_url = services.options.base_url
    document = openapi_document(described, base_url=base_url)
    openapi, whole, catalog = (
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
        return _html(whole)

    @cache
    def divided() -> Reference:
        # Long to make, so only once somebody reads it.
        return build_reference(document, base_url=base_url, try_it=services.options.sandbox)

    async def one_page(request: web.Request) -> web.Response:
        asked = request.query.get("q", "").strip()
        found = divided().found(asked) if asked else divided().pages.get(request.path)
        if found is None:
            raise web.HTTPNotFound
        return web.Response(text=found, content_type="text/html", headers=divided().headers)

    async def its_style(_request: web.Request) -> web.Response:
        return web.Response(body=reference.style(), content_type="text/css", headers=_FOREVER)

    async def its_script(_request: web.Request) -> web.Response:
        return web.Response(body=reference.script(), content_type="text/javascript", headers=_FOREVER)

    async def entrance(_request: web.Request) -> web.Response:
        return web.Response(status=_FOUND, headers={"Location": reference.ROOT})

    async def all_problems(_request: web.Request) -> web.Response:
        return _html(catalog)

    async def one_problem(request: web.Request) -> web.Response:
        kind = problems.CATALOG.get(request.match_info["code"])
        if kind is None:
            raise web.HTTPNotFound
        return _html(pages.problem_page(kind))

    readable = {
        "/": entrance,
        reference.ROOT: one_page,
        f"{reference.ROOT}/{{subject}}": one_page,
        f"{reference.ROOT}/objects/{{name}}": one_page,
        "/openapi.json": machine,
        "/docs": people,
        "/problems": all_problems,
        "/problems/{code}": one_problem,
    }
    found = [web.get(path, _limited(services, page)) for path, page in readable.items()]
    kept = [web.get(reference.STYLE, its_style)]
    if services.options.sandbox:
        kept.append(web.get(reference.SCRIPT, its_script))
    return [*kept, *found]


def _limited(services: ApiServices, page: _Page) -> _Page:
    """The page, as often as an address may read without a key."""

    async def answer(request: web.Request) -> web.Response:
        services.addresses.check(request)
        services.addresses.count(request)
        return await page(request)

    return answer


def _html(page: str) -> web.Response:
    return web.Response(text=page, content_type="text/html", headers=pages.HEADERS)
