"""Disputes: what cardholders' banks reclaim, to read; the PSP's reports move them.

Owns: the paths. Must not know how a dispute ends.
"""

from typing import Final

from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, page
from gateway.api.field_types import ListQuery, before
from gateway.payments.presenters import dispute_object


async def get(call: ApiRequest) -> ApiResponse:
    """One dispute."""
    party = None if call.caller.admin else call.caller.party_id
    dispute = await call.services.payments.disputes.get(party_id=party, dispute_id=call.path_id("id", "dsp"))
    return ApiResponse(body=dispute_object(dispute))


async def list_all(call: ApiRequest) -> ApiResponse:
    """Disputes, newest first."""
    party = None if call.caller.admin else call.caller.party_id
    found = await call.services.payments.disputes.list(
        party_id=party, before=before(call.query, "dsp"), limit=call.query.limit + 1
    )
    return ApiResponse(body=page([dispute_object(dispute) for dispute in found], limit=call.query.limit))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/disputes",
        operation="listDisputes",
        summary="List disputes",
        tag="Disputes",
        scope=Scope.CAPTURE,
        handler=list_all,
        query=ListQuery,
        answers={200: api_schemas.DisputeSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/disputes/{id}",
        operation="getDispute",
        summary="Get a dispute",
        tag="Disputes",
        scope=Scope.CAPTURE,
        handler=get,
        answers={200: api_schemas.DisputeSchema},
        problems=(problems.NOT_FOUND,),
    ),
)
