"""Whether a form comes from a page of ours.

Owns: what a browser says of it (Fetch Metadata; RFC 6454 where a browser has none). Must not know a page.
"""

from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

_OWN_PAGE: Final = frozenset({"same-origin", "none"})


def is_own_form(request: web.Request, *, base_url: str) -> bool:
    """Whether a page of ours sent the form; `base_url` is how browsers reach this gateway.

    A program, which says nothing of where a form comes from, has nobody's cookies.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in _OWN_PAGE
    origin = request.headers.get("Origin")
    return origin is None or _host(origin) in {request.host, _host(base_url)}


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).netloc or None
    except ValueError:
        return None
