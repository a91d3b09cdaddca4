"""The filters of the console's lists: their names in an address, and what the API is asked for them.

Owns: which filters each list has, days in the viewer's zone, amounts as people type them. Must not know how a
list is read. What is no day or no amount is rejected with what is expected.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from clearing.errors import UnknownCurrencyError
from gateway.api import problems
from gateway.api.problems import FieldError, ProblemError
from gateway.console.amounts import AmountNotReadError, read_amount
from gateway.console.page import ConsolePage

_AMOUNTS: Final = ("amount_min", "amount_max")
_PAYMENT: Final = ("evse_id", *_AMOUNTS, "currency", "decline_code", "metadata", "from", "to")
# By the last part of the list's path.
FILTERS: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "sessions": ("state", "session_ref", *_PAYMENT),
        "payments": ("state", "method", *_PAYMENT),
        "payouts": ("state", "party"),
        "exceptions": ("state", "kind", "party", "assignee"),
        "events": ("type",),
        "reconciliation": ("owner", "pair", "min_age_days"),
    }
)
_MOST_CHARACTERS: Final = 255
# The form's field of a parameter that the API rejects.
_FIELDS: Final[Mapping[str, str]] = MappingProxyType({"created_from": "from", "created_before": "to"})


def given(page: ConsolePage, name: str) -> dict[str, str]:
    """Every filter of a list as the address has it, "" where it has none."""
    return {one: page.request.query.get(one, "") for one in FILTERS[name]}


def read_filters(name: str, text: str) -> dict[str, str]:
    """The filters of a list in a query string, without empty ones and without what is none."""
    return {
        key: value[:_MOST_CHARACTERS]
        for key, value in parse_qsl(text)
        if key in FILTERS.get(name, ()) and value
    }


def payment_query(page: ConsolePage, name: str) -> dict[str, str]:
    """What the API is asked for the filters of sessions or payments.

    Days are days of the viewer's zone, the last one included. Raises ProblemError for what is no amount.
    """
    query = page.query(*(one for one in FILTERS[name] if one not in {"from", "to", *_AMOUNTS}))
    if "currency" in query:
        query["currency"] = query["currency"].strip().upper()
    for one in _AMOUNTS:
        if text := page.request.query.get(one, "").strip():
            query[one] = str(_amount(page, one, text, query.get("currency")))
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


def _amount(page: ConsolePage, name: str, text: str, currency: str | None) -> int:
    if currency is None:
        raise _rejected("currency", page.t("filter.currency_needed"))
    try:
        return read_amount(text, currency)
    except UnknownCurrencyError as error:
        raise _rejected("currency", f"{error}.") from None
    except AmountNotReadError as error:
        raise _rejected(name, f"{error}.") from None


def _rejected(name: str, expected: str) -> ProblemError:
    errors = [FieldError(pointer=f"/{name}", expected=expected)]
    return ProblemError(problems.INVALID_PARAMETERS, expected, errors=errors)


def rejection_of(error: ProblemError) -> dict[str, str]:
    """A rejected filter as its form shows it: what is expected, of which field. Raises any other error."""
    rejection = error.rejection
    if rejection.kind is not problems.INVALID_PARAMETERS:
        raise error
    named = rejection.errors[0].pointer.rpartition("/")[2] if rejection.errors else ""
    return {"problem": rejection.detail, "problem_field": _FIELDS.get(named, named)}
