"""Sessions and payments as lists: filters, pages by cursor, files.

Owns: what a list's page reads. Must not know how a list is read, or what its filters mean.
"""

from typing import Final

from aiohttp import web

from clearing.captured_session import AuthorizationMethod
from gateway.api_schemas import AuthorizationState
from gateway.console import csv_file, csv_lists, filters
from gateway.console.page import ConsolePage
from gateway.console.views.saved_views import views_of

SESSION_STATES: Final = ("active", "completed", "cleared", "cancelled", "exception")
_PAGE: Final = "25"
# What the form offers; any other may be typed.
_CURRENCIES: Final = ("EUR", "CHF", "GBP", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RON")
_DECLINE_CODES: Final = (
    "authentication_required",
    "do_not_honor",
    "expired_card",
    "generic_decline",
    "incorrect_cvc",
    "insufficient_funds",
    "lost_card",
    "processing_error",
    "stolen_card",
)


async def sessions(page: ConsolePage) -> web.StreamResponse:
    """Sessions, newest first."""
    query = filters.payment_query(page, "sessions")
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.SESSIONS, query=query)
    found = await page.calls.read("listSessions", query={**query, "limit": _PAGE, **page.query("cursor")})
    return page.respond(
        "sessions.html",
        found=found,
        states=SESSION_STATES,
        given=filters.given(page, "sessions"),
        views=await views_of(page, "sessions"),
        currencies=_CURRENCIES,
        decline_codes=_DECLINE_CODES,
    )


async def payments(page: ConsolePage) -> web.StreamResponse:
    """Authorizations with their hold or their decline code, newest first."""
    query = filters.payment_query(page, "payments")
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.PAYMENTS, query=query)
    found = await page.calls.read(
        "listAuthorizations", query={**query, "limit": _PAGE, **page.query("cursor")}
    )
    return page.respond(
        "payments.html",
        found=found,
        states=[state.value for state in AuthorizationState],
        methods=[method.value for method in AuthorizationMethod],
        given=filters.given(page, "payments"),
        views=await views_of(page, "payments"),
        currencies=_CURRENCIES,
        decline_codes=_DECLINE_CODES,
    )
