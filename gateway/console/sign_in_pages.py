"""The pages of sign-in: choose a way, use a link, return from the provider.

Owns: these pages and their limits. Must not know what a session is worth. A link is used by a button, not by
opening it: mail filters open links.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import web

from gateway.api.partners.people import SIGN_IN_PATH
from gateway.api.problems import ProblemError
from gateway.api.services import ApiServices
from gateway.console.cookies import LANGUAGE, ConsoleCookies
from gateway.console.rendering import PAGE_HEADERS, render
from gateway.console.texts import LANGUAGES, Texts, choose_language
from gateway.errors import RateLimitExceededError
from gateway.form_origin import is_own_form
from gateway.limits.rate_limit import RateLimiter, RateRule
from gateway.people.errors import SignInRejectedError
from gateway.people.person import ATTEMPT_LIFETIME, SignedIn
from gateway.people.sign_in import SignInService

RETURN_PATH: Final = f"{SIGN_IN_PATH}/openid/return"
SIGN_IN_RATE: Final = RateRule(name="sign-in", per_second=1, burst=20)
_SEE_OTHER: Final = 303
_FORBIDDEN: Final = 403
_TOO_MANY: Final = 429
_log = structlog.get_logger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInPages:
    """Signing in, for people who are not signed in yet."""

    services: ApiServices
    sign_in: SignInService
    cookies: ConsoleCookies
    by_address: RateLimiter

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(SIGN_IN_PATH, self._choose)
        app.router.add_get(f"{SIGN_IN_PATH}/openid", self._limited(self._start))
        app.router.add_get(RETURN_PATH, self._limited(self._return))
        app.router.add_get(f"{SIGN_IN_PATH}/{{token}}", self._show_link)
        app.router.add_post(f"{SIGN_IN_PATH}/{{token}}", self._limited(self._use_link))

    def _limited(self, handler: _Handler) -> _Handler:
        async def handle(request: web.Request) -> web.Response:
            address = self.services.addresses.address(request)
            try:
                self.by_address.take(address, at=time.monotonic())
                return await handler(request)
            except RateLimitExceededError as exceeded:
                return self._page(
                    request,
                    "sign_in.html",
                    status=_TOO_MANY,
                    error="sign_in.too_many",
                    headers=exceeded.headers,
                )
            except (SignInRejectedError, ProblemError) as error:
                _log.warning("sign_in_rejected", reason=str(error))
                return self._page(request, "sign_in.html", status=_FORBIDDEN, error="sign_in.rejected")

        return handle

    async def _choose(self, request: web.Request) -> web.Response:
        chosen = request.query.get("lang")
        if chosen in LANGUAGES:
            response = web.Response(status=_SEE_OTHER, headers={"Location": SIGN_IN_PATH, **PAGE_HEADERS})
            self.cookies.set_language(request, response, chosen or "en")
            return response
        return self._first(request, "sign_in.html")

    async def _show_link(self, request: web.Request) -> web.Response:
        return self._first(request, "sign_in_link.html")

    def _first(self, request: web.Request, template: str) -> web.Response:
        """A page to sign in on, which keeps the page that `next` asks for."""
        page = self._page(request, template)
        if wanted := request.query.get("next"):
            self.cookies.set_wanted(request, page, wanted)
        return page

    async def _use_link(self, request: web.Request) -> web.Response:
        if not is_own_form(request, base_url=self.services.options.base_url):
            raise SignInRejectedError("The form was sent by another site")
        signed_in = await self.sign_in.by_link(
            request.match_info["token"], previous=self.cookies.session(request)
        )
        return self._begin(request, signed_in)

    async def _start(self, request: web.Request) -> web.Response:
        start = await self.sign_in.start_openid()
        response = web.Response(status=_SEE_OTHER, headers={"Location": start.address, **PAGE_HEADERS})
        self.cookies.set_attempt(
            request, response, start.browser, max_age=int(ATTEMPT_LIFETIME.total_seconds())
        )
        return response

    async def _return(self, request: web.Request) -> web.Response:
        code, state = request.query.get("code"), request.query.get("state")
        if not code or not state:
            raise SignInRejectedError(f"The provider answered {request.query.get('error', 'without a code')}")
        signed_in = await self.sign_in.finish_openid(
            state=state,
            browser=self.cookies.attempt(request),
            code=code,
            previous=self.cookies.session(request),
        )
        return self._begin(request, signed_in)

    def _begin(self, request: web.Request, signed_in: SignedIn) -> web.Response:
        _log.info("signed_in", person=signed_in.person.public_id, party_id=signed_in.person.party_id)
        response = web.Response(
            status=_SEE_OTHER, headers={"Location": self.cookies.wanted(request), **PAGE_HEADERS}
        )
        self.cookies.clear(request, response)
        self.cookies.set_session(request, response, signed_in.token)
        return response

    def _page(
        self, request: web.Request, template: str, *, status: int = 200, error: str = "", headers: Any = None
    ) -> web.Response:
        texts = Texts(
            choose_language(
                cookie=request.cookies.get(LANGUAGE), accepted=request.headers.get("Accept-Language", "")
            )
        )
        provider = self.sign_in.provider
        values = {
            "t": texts,
            "languages": LANGUAGES,
            "provider": None if provider is None else provider.name,
            "error": error,
            "here": SIGN_IN_PATH,
            "environment": self.services.options.environment,
        }
        return web.Response(
            text=render(template, values),
            content_type="text/html",
            status=status,
            headers={**PAGE_HEADERS, **(headers or {})},
        )
