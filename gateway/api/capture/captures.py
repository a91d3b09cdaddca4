"""Captures: the one collection of each session's price, to read.

Owns: the paths. Must not know how money is captured.
"""

from typing import Final

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, page
from gateway.api.field_types import ListQuery, before
from gateway.payments.presenters import capture_object
from gateway.schemas import api_schemas


async def get(call: ApiRequest) -> ApiResponse:
    """One capture."""
    record = await call.services.payments.get_capture(
        party_id=call.caller.party_id, capture_id=call.path_id("id", "cap"), admin=call.caller.admin
    )
    return ApiResponse(body=capture_object(record))


async def list_all(call: ApiRequest) -> ApiResponse:
    """The caller's captures, newest first."""
    records = await call.services.payments.lists.list_captures(
        party_id=call.caller.party_id,
        admin=call.caller.admin,
        limit=call.query.limit + 1,
        before=before(call.query, "cap"),
    )
    return ApiResponse(body=page([capture_object(record) for record in records], limit=call.query.limit))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/captures",
        operation="listCaptures",
        summary="List captures",
        tag="Captures",
        handler=list_all,
        query=ListQuery,
        answers={200: api_schemas.CaptureSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/captures/{id}",
        operation="getCapture",
        summary="Get a capture",
        tag="Captures",
        handler=get,
        answers={200: api_schemas.CaptureSchema},
        problems=(problems.NOT_FOUND,),
    ),
)
