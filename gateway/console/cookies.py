"""The console's cookies: the session, the sign-in under way, the viewer's language.

Owns: their names and attributes. Must not know what a session is. Over https a cookie of a secret bears the
`__Host-` prefix: it is of this host alone, for every path, and only ever sent encrypted. Plain http is served
to this machine alone (RFC 6265bis; RFC 6761 section 6.3).
"""

import re
from typing import Final

from aiohttp import web

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SESSION: Final = "networkcore_session"
_ATTEMPT: Final = "networkcore_sign_in"
_WANTED: Final = "networkcore_wanted"
LANGUAGE: Final = "networkcore_language"
ZONE: Final = "networkcore_zone"
_YEAR_SECONDS: Final = 31_536_000
_HOUR_SECONDS: Final = 3600
_OWN_PAGE: Final = re.compile(r"/console(?:/[\w./~:@%+*=,!$&'()-]*)?(?:\?[\w./~:@%+*=,!$&'()?-]*)?", re.ASCII)
_LONGEST_ADDRESS: Final = 1000


def own_page(address: str) -> str:
    """A page of the console to go to after signing in; where the address is none, the first one.

    What a link says is not believed: another host, with or without its scheme, is none.
    """
    if len(address) > _LONGEST_ADDRESS or _OWN_PAGE.fullmatch(address) is None or "//" in address:
        return "/console"
    return address


class ConsoleCookies:
    """Reads and sets them; `base_url` is how browsers reach this gateway."""

    def __init__(self, base_url: str) -> None:
        self._https = base_url.startswith("https://")

    def session(self, request: web.Request) -> str | None:
        """The session's token."""
        return request.cookies.get(self._name(_SESSION, request))

    def attempt(self, request: web.Request) -> str:
        """The secret of a sign-in under way in this browser."""
        return request.cookies.get(self._name(_ATTEMPT, request), "")

    def set_session(self, request: web.Request, response: web.StreamResponse, token: str) -> None:
        """Keep the session until the browser is closed, or it ends at the server."""
        self._set(request, response, _SESSION, token, max_age=None)

    def set_attempt(
        self, request: web.Request, response: web.StreamResponse, secret: str, *, max_age: int
    ) -> None:
        """Keep the secret of a sign-in under way."""
        self._set(request, response, _ATTEMPT, secret, max_age=max_age)

    def wanted(self, request: web.Request) -> str:
        """The page that was asked for before signing in."""
        return own_page(request.cookies.get(self._name(_WANTED, request), ""))

    def set_wanted(self, request: web.Request, response: web.StreamResponse, address: str) -> None:
        """Keep the page that was asked for until the person has signed in."""
        self._set(request, response, _WANTED, own_page(address), max_age=_HOUR_SECONDS)

    def clear(self, request: web.Request, response: web.StreamResponse) -> None:
        """Forget session, attempt and the page asked for."""
        for name in (_SESSION, _ATTEMPT, _WANTED):
            self._set(request, response, name, "", max_age=0)

    def set_language(self, request: web.Request, response: web.StreamResponse, language: str) -> None:
        """Keep the viewer's choice; it is no secret."""
        response.set_cookie(
            LANGUAGE,
            language,
            path="/console",
            max_age=_YEAR_SECONDS,
            samesite="Lax",
            httponly=True,
            secure=self._secure(request),
        )

    def _secure(self, request: web.Request) -> bool:
        host = (request.url.host or "").lower()
        return self._https or request.scheme == "https" or host not in _LOOPBACK

    def _name(self, name: str, request: web.Request) -> str:
        return f"__Host-{name}" if self._secure(request) else name

    def _set(
        self,
        request: web.Request,
        response: web.StreamResponse,
        name: str,
        value: str,
        *,
        max_age: int | None,
    ) -> None:
        response.set_cookie(
            self._name(name, request),
            value,
            path="/",
            max_age=max_age,
            samesite="Lax",
            httponly=True,
            secure=self._secure(request),
        )
