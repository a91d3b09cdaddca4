"""Lists page by page: the four query parameters in, the three headers out.

Owns: their bounds and the link to the next page. Must not know: what is listed.
Source: OCPI transport_and_format, Pagination: date_from inclusive, date_to exclusive, Link carries the
filters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse
from gateway.ocpi.errors import OcpiRejectionError
from gateway.ocpi.request_bodies import read_moment

_MAX_DIGITS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """Which part of a list is requested; `limit` is already bounded by ours."""

    date_from: datetime | None
    date_to: datetime | None
    offset: int
    limit: int


def read_page(call: OcpiRequest) -> PageQuery:
    """The page that the query requests. Raises OcpiRejectionError."""
    query = call.request.query
    moments = {
        name: read_moment(query[name], at=f"query {name}") if query.get(name) else None
        for name in ("date_from", "date_to")
    }
    limit = _whole(query.get("limit"), name="limit", otherwise=call.services.page_limit)
    return PageQuery(
        **moments,
        offset=_whole(query.get("offset"), name="offset", otherwise=0),
        limit=max(1, min(limit, call.services.page_limit)),
    )


def _whole(value: str | None, *, name: str, otherwise: int) -> int:
    if value is None or value == "":
        return otherwise
    if not value.isascii() or not value.isdigit() or len(value) > _MAX_DIGITS:
        raise OcpiRejectionError(f"query {name}: expected a whole number from 0")
    return int(value)


def answer_page(
    call: OcpiRequest, page: PageQuery, *, objects: Sequence[Any], total: int, url: str
) -> OcpiResponse:
    """A page of `objects` out of `total`.

    With a link to the next page below `url` when this is not the last.
    """
    headers = {"X-Total-Count": str(total), "X-Limit": str(call.services.page_limit)}
    following = page.offset + len(objects)
    if objects and following < total:
        filters = {
            name: call.request.query[name] for name in ("date_from", "date_to") if name in call.request.query
        }
        query = urlencode({**filters, "offset": following, "limit": page.limit})
        headers["Link"] = f'<{url}?{query}>; rel="next"'
    return OcpiResponse(data=list(objects), headers=headers)
