"""What every request of the driver page passes: limits, origin, language; and what a driver sees of errors.

Owns: the guards and the pages for what went wrong. Must not know: what a page shows when all is well.
Source: W3C Fetch Metadata (Sec-Fetch-Site); RFC 6454 (Origin).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import structlog
from aiohttp import web

from clearing.language import Language
from gateway.driver_page.errors import (
    DriverPageError,
    NoDriverPageError,
    NoPriceError,
    SeveralEvsesError,
    UnknownPaymentError,
)
from gateway.driver_page.languages import choose_language, texts_of
from gateway.driver_page.rendering import PageFrame, html
from gateway.driver_page.services import DriverPageServices
from gateway.errors import RateLimitExceededError
from gateway.form_origin import is_own_form
from gateway.logs import first_line

CHARGE: Final = "/c"
PAYMENT: Final = "/charge"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_TOO_MANY: Final = 429
_FAULT: Final = 500
_log = structlog.get_logger(__name__)


def language_of(request: web.Request, default: Language = Language.ENGLISH) -> Language:
    """The language that the driver chose by the switch, else that of the browser."""
    return choose_language(
        request.query.get("lang"), request.headers.get("Accept-Language", ""), default=default
    )


def frame_of(
    request: web.Request, language: Language, *, path: str | None = None, brand: str = "", support: str = ""
) -> PageFrame:
    """What stands around a page, with the switch of languages leading to the same page."""
    query = {name: value for name, value in request.query.items() if name == "cpo"}
    return PageFrame(language=language, path=path or request.path, query=query, brand=brand, support=support)


def guarded(services: DriverPageServices, handler: Handler, *, looks: bool) -> Handler:
    """A handler whose errors are pages; `looks`: counted against the address, for there is no token."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            services.looking.check(request)
            if looks:
                services.looking.count(request)
            return await handler(request)
        except (web.HTTPException, ConnectionResetError):
            raise
        except DriverPageError as error:
            if isinstance(error, UnknownPaymentError):
                services.looking.count(request)  # who tries tokens is stopped soon
            return _expected(request, error)
        except RateLimitExceededError as error:
            response = _notice(request, "too_fast", status=_TOO_MANY, reload=True)
            response.headers.update(error.headers)
            return response
        except Exception as error:  # noqa: BLE001 - the page's boundary: a driver reads no traceback
            _log.error("driver_page_failed", reason=first_line(error), exc_info=error)
            return _notice(request, "fault", status=_FAULT, reload=True)

    return answer


def check_origin(request: web.Request, *, base_url: str) -> None:
    """Take a form only from a page of ours. Raises HTTPForbidden."""
    if not is_own_form(request, base_url=base_url):
        raise web.HTTPForbidden(text="The form came from another site.\n")


def evse_path(evse_id: str, **query: str) -> str:
    """The address of an EVSE's page."""
    given = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items() if value)
    return f"{CHARGE}/{quote(evse_id, safe='*')}{'?' if given else ''}{given}"


def _expected(request: web.Request, error: DriverPageError) -> web.Response:
    match error:
        case SeveralEvsesError():
            return _choices(request, error)
        case NoPriceError():
            return _notice(request, "no_price", status=_CONFLICT, title="title")
        case NoDriverPageError():
            return _notice(request, "not_found", status=_NOT_FOUND)
        case UnknownPaymentError():
            return _notice(request, "no_payment", status=_NOT_FOUND)
        case _:
            return _notice(request, "not_possible", status=_CONFLICT, title="fault_title", reload=True)


def _choices(request: web.Request, error: SeveralEvsesError) -> web.Response:
    language = language_of(request)
    texts = texts_of(language)
    name = request.match_info["evse"]
    context: Mapping[str, Any] = {
        "heading": texts["choose_operator"],
        "text": name,
        "choices": [(owner, evse_path(name, cpo=owner, lang=language.value)) for owner in error.owners],
        "reload": None,
    }
    return html("notice.html", frame_of(request, language), context)


def _notice(
    request: web.Request, text: str, *, status: int, title: str | None = None, reload: bool = False
) -> web.Response:
    language = language_of(request)
    texts = texts_of(language)
    context = {
        "heading": texts[title or f"{text}_title"],
        "text": texts[text],
        "choices": [],
        "reload": request.path if reload and request.method == "GET" else None,
    }
    return html("notice.html", frame_of(request, language), context, status=status)
