"""The console's routes, and the guard before every page: who, from which form, in which language.

Owns: the order of the guards and what an error looks like. Must not know what a page shows. A page is for a
person with a session; a form is taken from our own pages only, with the session's token in it.
"""

import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import structlog
from aiohttp import web

from clearing.reconciliation.evidence import MOST_BYTES
from gateway import outbound
from gateway.adapters.openid import OpenIdClient, OpenIdHttpProvider
from gateway.api import problems, request_bodies
from gateway.api.dispatch import REQUEST_ID
from gateway.api.endpoint import ApiEndpoint
from gateway.api.error_mapping import problem_for
from gateway.api.partners.people import SIGN_IN_PATH
from gateway.api.problems import ProblemDetails, ProblemError
from gateway.api.routes import endpoints
from gateway.api.services import ApiServices
from gateway.config import Settings
from gateway.console import sign_in_pages
from gateway.console.busy import busy_page, texts_of
from gateway.console.calls import ConsoleCalls
from gateway.console.cookies import ZONE, ConsoleCookies
from gateway.console.figures import zone_of
from gateway.console.page import OF_ONE_ANSWER, ConsolePage, FormFile, LiveViews, UnrenderedPage
from gateway.console.rendering import PAGE_HEADERS, STATIC_HEADERS, STATIC_PATH, render, static_files
from gateway.console.sign_in_pages import SIGN_IN_RATE, SignInPages
from gateway.console.texts import LANGUAGES, Texts
from gateway.console.turns import PageTurn, PageTurns, TooManyPagesError
from gateway.console.views.routes import FORMS, LIVE, PAGES
from gateway.form_origin import is_own_form
from gateway.limits.rate_limit import RateRule
from gateway.live_streams import MOST_STREAMS, LiveStreams, SharedReading
from gateway.people.person import SessionLimits, SignedIn
from gateway.people.sign_in import SignInService

_log = structlog.get_logger(__name__)
_PERSON_RATE: Final = RateRule(name="person", per_second=20, burst=200)
_MAX_FORM_BYTES: Final = 32_768
_MAX_FILE_FORM_BYTES: Final = MOST_BYTES + _MAX_FORM_BYTES
_SEE_OTHER: Final = 303
PAGES_AT_ONCE: Final = 4
LIVE_SECONDS: Final = 5.0
_STREAMS_OF_A_PERSON: Final = 10
_COUNTED_AGAIN_SECONDS: Final = 2.0
_SERVER_ERROR: Final = 500
_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
_EXPLAINED: Final = frozenset({400, 403, 404, 409, 429, 500, 503})  # those with a text of their own
_MAY_PASS: Final = frozenset({429, 500, 503})
_MENDED_BY_THE_PERSON: Final = frozenset({400, 409, 422})
_Page = Callable[[ConsolePage], Awaitable[web.StreamResponse]]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_console(app: web.Application, services: ApiServices, settings: Settings) -> web.Application:
    """Add the console to the HTTP application, with the provider that the settings name."""
    provider = None
    if settings.oidc_issuer is not None and settings.oidc_client_id is not None:
        secret = settings.oidc_client_secret
        # The operator names the provider, so it may be in a private network.
        http = outbound.session(True)  # noqa: FBT003 - the one choice there is

        async def close(_app: web.Application) -> None:
            await http.close()

        app.on_cleanup.append(close)
        client = OpenIdClient(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            client_secret=None if secret is None else secret.get_secret_value(),
            redirect_uri=f"{settings.base_url}{sign_in_pages.RETURN_PATH}",
            scope=settings.oidc_scope,
            name=settings.oidc_name,
        )
        provider = OpenIdHttpProvider(client, http=http)
    limits = SessionLimits(idle=settings.console_idle, absolute=settings.console_session)
    sign_in = SignInService(pool=services.pool, clock=services.clock, limits=limits, provider=provider)
    Console(
        services, sign_in, at_once=settings.console_pages_at_once, streams=settings.console_streams
    ).add_to(app)
    return app


class Console:
    """The console over one set of services."""

    def __init__(
        self,
        services: ApiServices,
        sign_in: SignInService,
        *,
        at_once: int = PAGES_AT_ONCE,
        streams: int = MOST_STREAMS,
        live_seconds: float = LIVE_SECONDS,
    ) -> None:
        """`at_once`: pages made at the same time, and files sent; `streams`: live views that are open."""
        self._live = LiveViews(
            streams=LiveStreams(live_seconds, most=streams, most_of_one=_STREAMS_OF_A_PERSON),
            operations=SharedReading(live_seconds),
            open_exceptions=SharedReading(min(live_seconds, _COUNTED_AGAIN_SECONDS)),
        )
        self._turns, self._file_turns = PageTurns(at_once), PageTurns(at_once)
        self._services = services
        self._sign_in = sign_in
        self._cookies = ConsoleCookies(services.options.base_url)
        self._operations: Mapping[str, ApiEndpoint] = {
            endpoint.operation: endpoint for endpoint in endpoints(sandbox=services.options.sandbox)
        }
        self._by_person = services.limits.limiter(_PERSON_RATE)

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        SignInPages(
            services=self._services,
            sign_in=self._sign_in,
            cookies=self._cookies,
            by_address=self._services.limits.limiter(SIGN_IN_RATE),
        ).add_to(app)
        app.router.add_get(f"{STATIC_PATH}/{{name}}", _static)
        app.router.add_post("/console/sign-out", self._guarded(self._sign_out, form=True))
        for path, view in PAGES.items():
            app.router.add_get(path, self._guarded(view, form=False))
        for path, view in LIVE.items():
            app.router.add_get(path, self._guarded(view, form=False, by_itself=True))
        for path, view in FORMS.items():
            app.router.add_post(path, self._guarded(view, form=True))
        app.router.add_get("/console/{rest:.*}", self._guarded(_nothing, form=False))

    def _guarded(self, view: _Page, *, form: bool, by_itself: bool = False) -> _Handler:
        """`by_itself`: a page asks, not a person, so that it keeps no session from ending."""

        async def handle(request: web.Request) -> web.StreamResponse:
            chosen = request.query.get("lang")
            if not form and chosen is not None and chosen in LANGUAGES:
                return self._language(request, chosen)
            try:
                async with self._turns.turn() as turn:
                    return await made(request, turn)
            except TooManyPagesError as error:
                _log.warning("page_not_made", path=request.path, reason=str(error))
                return busy_page(request)

        async def made(request: web.Request, turn: PageTurn) -> web.StreamResponse:
            try:
                signed_in = await self._who(request, in_use=not by_itself)
            except Exception as error:  # noqa: BLE001 - the boundary of a page: no person sees a traceback
                return _failed_before_sign_in(request, error)
            if signed_in is None:
                return _to_sign_in(request)
            structlog.contextvars.bind_contextvars(
                party_id=signed_in.person.party_id, person=signed_in.person.public_id
            )
            page = self._page(request, signed_in, turn)
            try:
                self._by_person.take(signed_in.person.public_id, at=time.monotonic())
                _check_query(request)
                if form:
                    page = await self._with_form(page)
                return await _rendered(await view(page))
            except (web.HTTPException, TooManyPagesError):
                raise
            except Exception as error:  # noqa: BLE001 - the boundary of a page: no person sees a traceback
                return await _rendered(_rejected_form(page, error) if form else _failed(page, error))

        return handle

    async def _who(self, request: web.Request, *, in_use: bool = True) -> SignedIn | None:
        token = self._cookies.session(request)
        if token is None:
            return None
        self._services.addresses.check(request)
        found = await self._sign_in.find(token, in_use=in_use)
        if found is None:
            self._services.addresses.count(request)
        return found

    def _page(self, request: web.Request, signed_in: SignedIn, turn: PageTurn) -> ConsolePage:
        return ConsolePage(
            request=request,
            services=self._services,
            signed_in=signed_in,
            calls=ConsoleCalls(
                self._services,
                self._operations,
                signed_in.person,
                request_id=request.get(REQUEST_ID, ""),
            ),
            t=texts_of(request),
            zone=zone_of(request.cookies.get(ZONE, "").replace("%2F", "/")),
            turn=turn,
            file_turns=self._file_turns,
            live=self._live,
            still_signed_in=partial(self._lasts, signed_in.token),
        )

    async def _lasts(self, token: str) -> bool:
        return await self._sign_in.find(token, in_use=False) is not None

    async def _with_form(self, page: ConsolePage) -> ConsolePage:
        """The page with its form's fields, once the form is known to be ours."""
        request = page.request
        if not is_own_form(request, base_url=self._services.options.base_url):
            raise ProblemError(problems.MISSING_SCOPE, "The form was sent by another site.")
        with_file = request.content_type == "multipart/form-data"
        if (request.content_length or 0) > (_MAX_FILE_FORM_BYTES if with_file else _MAX_FORM_BYTES):
            raise ProblemError(problems.BODY_TOO_LARGE, "The form is too long.")
        posted = await request.post()
        fields = {name: value for name, value in posted.items() if isinstance(value, str)}
        files = {
            name: FormFile(name=value.filename, content=value.file.read())
            for name, value in posted.items()
            if isinstance(value, web.FileField)
        }
        if not hmac.compare_digest(fields.get("csrf", "").encode(), page.signed_in.csrf_token.encode()):
            raise ProblemError(
                problems.MISSING_SCOPE, "The form is not of this sign-in; open the page again and repeat."
            )
        return ConsolePage(
            request=page.request,
            services=page.services,
            signed_in=page.signed_in,
            calls=page.calls,
            t=page.t,
            zone=page.zone,
            turn=page.turn,
            file_turns=page.file_turns,
            live=page.live,
            still_signed_in=page.still_signed_in,
            form=fields,
            files=files,
        )

    async def _sign_out(self, page: ConsolePage) -> web.StreamResponse:
        await self._sign_in.end(page.signed_in, everywhere=page.form.get("everywhere") == "yes")
        response = web.Response(status=_SEE_OTHER, headers={"Location": SIGN_IN_PATH, **PAGE_HEADERS})
        self._cookies.clear(page.request, response)
        return response

    def _language(self, request: web.Request, language: str) -> web.Response:
        kept = {name: value for name, value in request.query.items() if name != "lang"}
        address = f"{request.path}?{urlencode(kept)}" if kept else request.path
        response = web.Response(status=_SEE_OTHER, headers={"Location": address, **PAGE_HEADERS})
        self._cookies.set_language(request, response, language)
        return response


async def _rendered(answer: web.StreamResponse) -> web.StreamResponse:
    if isinstance(answer, UnrenderedPage):
        await answer.render()
    return answer


def _check_query(request: web.Request) -> None:
    """Reject what no list can be searched by: NUL, which no text column holds, and card numbers."""
    if "\x00" in request.path or any("\x00" in value for value in request.query.values()):
        raise ProblemError(problems.INVALID_PARAMETERS, "The address holds a character that no text has.")
    request_bodies.check_address(request)


def _to_sign_in(request: web.Request) -> web.Response:
    wanted = request.path_qs if request.method == "GET" else "/console"
    address = f"{SIGN_IN_PATH}?{urlencode({'next': wanted})}"
    return web.Response(status=_SEE_OTHER, headers={"Location": address, **PAGE_HEADERS})


async def _nothing(page: ConsolePage) -> web.StreamResponse:
    raise ProblemError(problems.NOT_FOUND, f"There is nothing at {page.request.path}.")


def _rejection(request: web.Request, error: Exception, t: Texts) -> ProblemDetails:
    """What is wrong, for a page: an error that nobody expected is logged and has no detail."""
    rejection = problem_for(error)
    if rejection is None:
        _log.error("page_failed", path=request.path, exc_info=error)
        rejection = ProblemDetails(kind=problems.INTERNAL_ERROR, detail=t("error.logged"))
    return rejection


def _error_values(request: web.Request, rejection: ProblemDetails, t: Texts) -> dict[str, str]:
    """What a page of an error shows: what happened in the person's language, what to do, the API's words."""
    status = rejection.kind.status
    known = status if status in _EXPLAINED else _SERVER_ERROR if status >= _SERVER_ERROR else _BAD_REQUEST
    return {
        "title": t("error.not_found") if known == _NOT_FOUND else t(f"error.title_{known}"),
        "advice": t(f"error.advice_{known}"),
        "detail": rejection.detail,
        "request_id": request.get(REQUEST_ID, ""),
        "again": request.path_qs if request.method == "GET" and known in _MAY_PASS else "",
    }


def _failed(page: ConsolePage, error: Exception) -> UnrenderedPage:
    rejection = _rejection(page.request, error, page.t)
    values = _error_values(page.request, rejection, page.t)
    answer = page.respond("error.html", status=rejection.kind.status, **values)
    answer.headers.update(rejection.headers)
    return answer


def _failed_before_sign_in(request: web.Request, error: Exception) -> web.Response:
    """The page of an error that came before it was known who asks: the database may be away."""
    t = texts_of(request)
    rejection = _rejection(request, error, t)
    values = {"t": t, **_error_values(request, rejection, t)}
    return web.Response(
        text=render("error_alone.html", values),
        content_type="text/html",
        status=rejection.kind.status,
        headers={**PAGE_HEADERS, **rejection.headers},
    )


def _rejected_form(page: ConsolePage, error: Exception) -> web.StreamResponse:
    """Back to the page of a form that can't be taken, with why, where the browser says which page it was."""
    rejection = problem_for(error)
    before = urlsplit(page.request.headers.get("Referer", ""))
    own = before.netloc == page.request.host and before.path.startswith("/console/")
    if rejection is None or not own or rejection.kind.status not in _MENDED_BY_THE_PERSON:
        return _failed(page, error)
    kept = [(name, value) for name, value in parse_qsl(before.query) if name not in OF_ONE_ANSWER]
    address = f"{before.path}?{urlencode(kept)}" if kept else before.path
    named = rejection.errors[0].pointer.rpartition("/")[2] if rejection.errors else ""
    return page.back_with(address, rejection.detail, field_name=named)


async def _static(request: web.Request) -> web.Response:
    for file in static_files().values():
        if file.name == request.match_info["name"]:
            return web.Response(body=file.content, content_type=file.content_type, headers=STATIC_HEADERS)
    raise web.HTTPNotFound
