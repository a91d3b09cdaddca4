"""The field types that requests are made of, and list queries.

Owns: bounds that hold for every resource. Must not know any resource. Text never carries NUL, which no text
column can hold; amounts fit the ledger's 64 bits, and so do sums of them.
"""

import re
from datetime import date
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, Field

from clearing.pricing.ocpi_version import FIRST_YEAR, LAST_YEAR
from gateway.api import problems
from gateway.api.endpoint import QueryModel, WireModel
from gateway.api.problems import FieldError, ProblemError
from gateway.errors import MalformedIdError
from gateway.ids import parse_id
from gateway.schemas.api_schemas import Instant

MAX_PAGE: Final = 100
MAX_AMOUNT_MINOR: Final = 10**15
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NO_CONTROL: Final = r"^[^\x00-\x1f\x7f]*$"

_Day = TypeVar("_Day", bound=date)


def _in_calendar(value: _Day) -> _Day:
    """A time or a day that every calculation can be made with: none at the edge of the calendar."""
    if not FIRST_YEAR <= value.year < LAST_YEAR:
        raise ValueError(
            f"expected a time from {FIRST_YEAR} on and before {LAST_YEAR}; leave it out for no end"
        )
    return value


InstantIn = Annotated[Instant, AfterValidator(_in_calendar)]
DayIn = Annotated[date, AfterValidator(_in_calendar)]
Slug = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{1,62}$",
        description="party id: 2 to 63 letters, digits, - and _",
        examples=["NL-ABC"],
    ),
]
Line = Annotated[str, Field(min_length=1, max_length=255, pattern=_NO_CONTROL)]
EvseId = Annotated[
    str,
    Field(pattern=r"^[!-~]{1,48}$", description="EVSE id as printed or pushed", examples=["DE*ABC*E0001*1"]),
]
Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$")]
# The forms of the PSP's tokens, so that nothing else, such as a card number, is taken for one.
PaymentMethodToken = Annotated[
    str, Field(pattern=r"^pm_[A-Za-z0-9_]{1,252}$", description="payment method, a token of the PSP")
]
CustomerToken = Annotated[
    str, Field(pattern=r"^cus_[A-Za-z0-9_]{1,251}$", description="customer, a token of the PSP")
]
# The answer carries a secret of the driver's app: nobody on the way may keep it.
NO_STORE: Final = {"Cache-Control": "no-store"}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SCRIPTS: Final = frozenset({"javascript", "data", "file", "vbscript", "blob", "about"})


def _return_url(text: str) -> str:
    """An address of an app or a web page; never one that a browser would run."""
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    app = parts.scheme not in {"", "http", "https"} and parts.scheme not in _SCRIPTS
    if not (secure and host) and not (app and "://" in text):
        raise ValueError("expected an https address or an address of your app such as superapp://return")
    return text


ReturnUrl = Annotated[
    str,
    Field(
        pattern=r"^[!-~]{1,2000}$",
        description="where the driver returns to after a challenge: https, or your app's own scheme",
        examples=["https://app.example/return"],
    ),
    AfterValidator(_return_url),
]
CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code", examples=["EUR"])]
PositiveMinor = Annotated[
    int, Field(ge=1, le=MAX_AMOUNT_MINOR, description="minor units of the currency", examples=[2450])
]
NonNegativeMinor = Annotated[int, Field(ge=0, le=MAX_AMOUNT_MINOR, description="minor units of the currency")]
MetadataIn = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=40, pattern=_NO_CONTROL)],
        Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")],
    ],
    Field(max_length=50, description="your own key-value pairs, returned unchanged"),
]


Email = Annotated[
    str,
    Field(
        min_length=3,
        max_length=254,
        pattern=r"^[!-?A-~]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$",
        description="e-mail address",
        examples=["driver@example.com"],
    ),
]


class EmptyBody(WireModel):
    """A body without fields."""


class ListQuery(QueryModel):
    """A page of a list, newest first."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="`next_cursor` of the previous page"
    )


class PaymentFilterQuery(ListQuery):
    """Filters that sessions and authorizations have in common; all of them must match."""

    evse_id: EvseId | None = None
    created_from: InstantIn | None = Field(None, description="inclusive, RFC 3339")
    created_before: InstantIn | None = Field(None, description="exclusive, RFC 3339")
    amount_min: NonNegativeMinor | None = Field(None, description="inclusive, minor units of the currency")
    amount_max: NonNegativeMinor | None = Field(None, description="inclusive, minor units of the currency")
    currency: CurrencyCode | None = None
    decline_code: Token | None = Field(
        None, description="the issuer's reason", examples=["insufficient_funds"]
    )
    metadata: Line | None = Field(
        None, pattern=r"^[^:]{1,40}:", description="one of your own pairs", examples=["order:7"]
    )


def metadata_pair(text: str | None) -> dict[str, str]:
    """The pair that a filter names as `name:value`; none for no filter."""
    name, _, value = (text or "").partition(":")
    return {name: value} if text else {}


def fingerprint(text: str) -> bytes:
    """A SHA-256 in a path. Raises ProblemError `not_found` for any other text: there is no such thing."""
    if _SHA256.fullmatch(text) is None:
        raise ProblemError(problems.NOT_FOUND, "A certificate is named by its SHA-256 in hexadecimal.")
    return bytes.fromhex(text)


def before(query: Any, prefix: str) -> UUID | None:
    """The id that a list's cursor names. Raises ProblemError: the cursor is none of ours."""
    return id_of_cursor(query.cursor, prefix)


def id_of_cursor(cursor: str | None, prefix: str) -> UUID | None:
    """The id that a cursor names, None without one. Raises ProblemError: the cursor is none of ours."""
    if cursor is None:
        return None
    try:
        return parse_id(prefix, cursor)
    except MalformedIdError:
        raise foreign_cursor() from None


def foreign_cursor() -> ProblemError:
    """A cursor that the list it was sent to did not return."""
    return ProblemError(
        problems.INVALID_PARAMETERS,
        "cursor: this list did not return it; start without one.",
        errors=[FieldError(pointer="/cursor", expected="`next_cursor` of the previous page")],
    )
