"""The page for whoever comes while too many pages are being made, or while nobody serves the console.

Owns: that page, which needs neither the database nor a session. Must not know why it is shown.
"""

from typing import Final

from aiohttp import web

from gateway.console.cookies import LANGUAGE
from gateway.console.rendering import PAGE_HEADERS, render
from gateway.console.texts import Texts, choose_language
from gateway.console.turns import RETRY_AFTER_SECONDS

_UNAVAILABLE: Final = 503


def texts_of(request: web.Request) -> Texts:
    """The texts in the language of whoever asks."""
    accepted = request.headers.get("Accept-Language", "")
    return Texts(choose_language(cookie=request.cookies.get(LANGUAGE), accepted=accepted))


def busy_page(request: web.Request) -> web.Response:
    """503 with when to try again; the page's link repeats what was read, and sends no form again."""
    again = request.path_qs if request.method in {"GET", "HEAD"} else "/console"
    return web.Response(
        text=render("busy.html", {"t": texts_of(request), "again": again}),
        content_type="text/html",
        status=_UNAVAILABLE,
        headers={**PAGE_HEADERS, "Retry-After": str(RETRY_AFTER_SECONDS)},
    )
