"""The field types that requests are made of, and list queries.

Owns: bounds that hold for every resource. Must not know any resource. Text never carries NUL, which no text
column can hold; amounts fit the ledger's 64 bits, and so do sums of them.
"""

import re
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import QueryModel, WireModel
from gateway.api.problems import FieldError, ProblemError
from gateway.errors import MalformedIdError
from gateway.ids import parse_id

MAX_PAGE: Final = 100
MAX_AMOUNT_MINOR: Final = 10**15
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NO_CONTROL: Final = r"^[^\x00-\x1f\x7f]*$"

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


def fingerprint(text: str) -> bytes:
    """A SHA-256 in a path. Raises ProblemError `not_found` for any other text: there is no such thing."""
    if _SHA256.fullmatch(text) is None:
        raise ProblemError(problems.NOT_FOUND, "A certificate is named by its SHA-256 in hexadecimal.")
    return bytes.fromhex(text)


def before(query: Any, prefix: str) -> UUID | None:
    """The id that a list's cursor names.

    Raises:
        ProblemError: the cursor is none of ours.
    """
    if query.cursor is None:
        return None
    try:
        return parse_id(prefix, query.cursor)
    except MalformedIdError:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            "cursor: this list did not return it; start without one.",
            errors=[FieldError(pointer="/cursor", expected="`next_cursor` of the previous page")],
        ) from None
