"""Sessions and payments as lists: filters, pages by cursor, CSV.

Owns: which filters there are and what a row shows. Must not know how a list is read.
"""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from aiohttp import web

from gateway.console.page import ConsolePage

SESSION_STATES: Final = ("active", "completed", "cleared", "cancelled", "exception")
_FILTERS: Final = ("state", "evse_id", "session_ref", "metadata")
_PAGE: Final = "25"
_CSV_PAGE: Final = "100"
_CSV_PAGES: Final = 50
_COLUMNS: Final = (
    "id",
    "created",
    "state",
    "cpo",
    "evse_id",
    "energy_wh",
    "currency",
    "price_minor",
    "captured_minor",
    "refunded_minor",
    "method",
    "session_ref",
    "cdr_id",
    "flags",
)
_PAYMENT_COLUMNS: Final = (
    "id",
    "created",
    "state",
    "session",
    "evse_id",
    "method",
    "amount_minor",
    "currency",
    "decline_code",
)


async def sessions(page: ConsolePage) -> web.Response:
    """Sessions, newest first."""
    query = _query(page)
    if page.request.query.get("format") == "csv":
        rows = await read_all(page, "listSessions", query)
        return page.csv("sessions", _COLUMNS, [_row(one) for one in rows])
    found = await page.calls.read("listSessions", query={**query, "limit": _PAGE, **page.query("cursor")})
    return page.respond(
        "sessions.html",
        found=found,
        states=SESSION_STATES,
        given={name: page.request.query.get(name, "") for name in (*_FILTERS, "from", "to")},
    )


async def payments(page: ConsolePage) -> web.Response:
    """Authorizations with their hold or their decline code, newest first."""
    if page.request.query.get("format") == "csv":
        rows = await read_all(page, "listAuthorizations", {})
        return page.csv(
            "payments",
            _PAYMENT_COLUMNS,
            [
                (
                    one["id"],
                    one["created"],
                    one["state"],
                    one["session"],
                    one["evse_id"],
                    one["method"],
                    one["amount"],
                    one["currency"],
                    one["decline_code"],
                )
                for one in rows
            ],
        )
    found = await page.calls.read("listAuthorizations", query={"limit": _PAGE, **page.query("cursor")})
    return page.respond("payments.html", found=found)


async def read_all(page: ConsolePage, operation: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
    """A list whole, up to 5,000 rows: the API's pages one after the other."""
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    for _ in range(_CSV_PAGES):
        found = await page.calls.read(operation, query={**query, "limit": _CSV_PAGE, **cursor})
        rows += found["data"]
        if not found["has_more"]:
            break
        cursor = {"cursor": found["next_cursor"]}
    return rows


def _query(page: ConsolePage) -> dict[str, str]:
    """The filters as the API takes them: days are days of the viewer's zone, the last one included."""
    query = page.query(*_FILTERS)
    since, until = page.request.query.get("from"), page.request.query.get("to")
    if since:
        query["created_from"] = _start_of(page, since, days=0)
    if until:
        query["created_before"] = _start_of(page, until, days=1)
    return query


def _start_of(page: ConsolePage, text: str, *, days: int) -> str:
    try:
        found = date.fromisoformat(text) + timedelta(days=days)
    except (ValueError, OverflowError):
        return text  # the API says what it expects
    return datetime.combine(found, time(), tzinfo=page.zone).isoformat()


def _row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    price, capture = one["price"] or {}, one["capture"] or {}
    return (
        one["id"],
        one["created"],
        one["state"],
        one["cpo"],
        one["evse_id"],
        one["energy_wh"],
        one["currency"],
        price.get("incl_vat"),
        capture.get("amount"),
        capture.get("refunded"),
        one["authorization_method"],
        one["session_ref"],
        one["cdr_id"],
        " ".join(one["flags"]),
    )
