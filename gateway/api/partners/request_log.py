"""The log of a party's own requests, to find one by its id.

Owns: the paths and what an entry shows. Must not know how entries are collected. The list runs newest first;
an entry is there about a second after its answer, for seven days or as the installation's periods say.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, page
from gateway.api.field_types import MAX_PAGE, Slug, before
from gateway.api.problems import ProblemError
from gateway.ids import format_id
from gateway.partners.request_log_repository import RequestFilter, RequestRecord
from gateway.schemas import api_schemas

_PREFIX: Final = "rql"


class RequestLogQuery(QueryModel):
    """A page of requests before a cursor."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="`next_cursor` of the previous page"
    )
    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")] | None = Field(
        None, description="the `X-Request-Id` of a response"
    )
    key: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")] | None = Field(
        None, description="the prefix of an API key"
    )
    failed: bool = Field(default=False, description="only responses with a status of 400 or above")
    party: Slug | None = Field(None, description="for the platform: only this party's requests")


class LoggedRequestSchema(api_schemas.PublicSchema):
    """One request of an API key: nothing of its body, its query or the values in its path."""

    id: str
    object: Literal["logged_request"] = "logged_request"
    party: str
    key: str = Field(description="prefix of the API key")
    request_id: str = Field(description="the `X-Request-Id` of the response")
    method: str
    route: str = Field(description="the form of the path", examples=["/v1/sessions/{id}"])
    status: int
    duration_ms: int
    error_code: str | None = Field(description="`code` of the problem; null: none")
    requested: api_schemas.Instant


async def list_all(call: ApiRequest) -> ApiResponse:
    """The caller's requests, newest first."""
    query: RequestLogQuery = call.query
    found = await call.services.request_log.list(
        party_id=query.party if call.caller.admin else call.caller.party_id,
        wanted=RequestFilter(
            before=before(query, _PREFIX),
            request_id=query.request_id,
            key_prefix=query.key,
            failed=query.failed,
        ),
        limit=query.limit + 1,
    )
    return ApiResponse(body=page([_shown(one) for one in found], limit=query.limit))


async def get(call: ApiRequest) -> ApiResponse:
    """One request."""
    found = await call.services.request_log.find(call.path_id("id", _PREFIX), party_id=call.own_party)
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such request.")
    return ApiResponse(body=_shown(found))


def _shown(record: RequestRecord) -> LoggedRequestSchema:
    return LoggedRequestSchema(
        id=format_id(_PREFIX, record.id),
        party=record.party_id,
        key=record.key_prefix,
        request_id=record.request_id,
        method=record.method,
        route=record.route,
        status=record.status,
        duration_ms=record.duration_ms,
        error_code=record.error_code,
        requested=record.requested_at,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/request-log",
        operation="listRequests",
        summary="List API requests",
        description=(
            "Lists the requests of your API keys, newest first, about a second after each was answered. "
            "Bodies, queries and the values in paths are not kept."
        ),
        tag="Events",
        handler=list_all,
        query=RequestLogQuery,
        answers={200: LoggedRequestSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/request-log/{id}",
        operation="getRequest",
        summary="Get an API request",
        tag="Events",
        handler=get,
        answers={200: LoggedRequestSchema},
        problems=(problems.NOT_FOUND,),
    ),
)
