"""Sessions and payments as lists: filters, pages by cursor, files.

Owns: what a list's page reads. Must not know how a list is read, or what its filters mean.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from clearing.captured_session import AuthorizationMethod
from gateway.api.problems import ProblemError
from gateway.console import csv_file, csv_lists, filters, repository
from gateway.console.page import ConsolePage
from gateway.console.views.saved_views import views_of
from gateway.ids import format_id, parse_id
from gateway.schemas.api_schemas import AuthorizationState

SESSION_STATES: Final = ("active", "completed", "cleared", "cancelled", "exception")
_PAGE: Final = "25"
_OK: Final = 200
_BAD_REQUEST: Final = 400
_NOT_REJECTED: Final[Mapping[str, str]] = {"problem": "", "problem_field": ""}
# What the form offers; any other may be typed.
_CURRENCIES: Final = ("EUR", "CHF", "GBP", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RON")
DECLINE_CODES: Final = (
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


async def _found(page: ConsolePage, name: str, operation: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The list, and what is wrong with its filters: then it is empty, and the form keeps what was typed."""
    try:
        query = filters.payment_query(page, name)
        return await page.calls.read(operation, query={**query, "limit": _PAGE, **page.query("cursor")}), {}
    except ProblemError as error:
        return {"data": [], "has_more": False, "next_cursor": None}, filters.rejection_of(error)


async def market_zones(page: ConsolePage, names: Sequence[str]) -> Mapping[str, str]:
    """The time zones of sessions' locations, by the session's id; for a list that the person may see."""
    if not names:
        return {}
    ids = sorted({parse_id("ses", one) for one in names})
    async with page.services.pool.acquire() as connection:
        found = await repository.find_time_zones(connection, ids)
    return {format_id("ses", one): zone for one, zone in found.items()}


async def sessions(page: ConsolePage) -> web.StreamResponse:
    """Sessions, newest first."""
    if csv_file.wanted(page) is not None:
        query = filters.payment_query(page, "sessions")
        return await csv_file.answer_list(page, csv_lists.SESSIONS, query=query)
    found, rejected = await _found(page, "sessions", "listSessions")
    return page.respond(
        "sessions.html",
        status=_BAD_REQUEST if rejected else _OK,
        **(rejected or _NOT_REJECTED),
        found=found,
        zones=await market_zones(page, [one["id"] for one in found["data"]]),
        states=SESSION_STATES,
        given=filters.given(page, "sessions"),
        views=await views_of(page, "sessions"),
        currencies=_CURRENCIES,
        decline_codes=DECLINE_CODES,
    )


async def payments(page: ConsolePage) -> web.StreamResponse:
    """Authorizations with their hold or their decline code, newest first."""
    if csv_file.wanted(page) is not None:
        query = filters.payment_query(page, "payments")
        return await csv_file.answer_list(page, csv_lists.PAYMENTS, query=query)
    found, rejected = await _found(page, "payments", "listAuthorizations")
    return page.respond(
        "payments.html",
        status=_BAD_REQUEST if rejected else _OK,
        **(rejected or _NOT_REJECTED),
        found=found,
        zones=await market_zones(page, [one["session"] for one in found["data"]]),
        states=[state.value for state in AuthorizationState],
        methods=[method.value for method in AuthorizationMethod],
        given=filters.given(page, "payments"),
        views=await views_of(page, "payments"),
        currencies=_CURRENCIES,
        decline_codes=DECLINE_CODES,
    )
