"""Refunds: return captured money, read refunds.

Owns: the wire form. Must not know how money is returned or who bears it.
"""

from typing import Final, Literal
from uuid import UUID

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import ListQuery, MetadataIn, PositiveMinor, before
from gateway.api.idempotency import KeyRule
from gateway.ids import parse_id
from gateway.payments.presenters import refund_object
from gateway.payments.refund import RefundReason, RefundRequest
from gateway.schemas import api_schemas

_CREATED: Final = 201


class RefundBody(WireModel):
    """A request to refund a session."""

    session: str = Field(examples=["ses_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    amount: PositiveMinor | None = Field(None, description="minor units; all that is left when absent")
    reason: Literal["requested_by_driver", "duplicate", "fraudulent"] = "requested_by_driver"
    metadata: MetadataIn = Field(default_factory=dict)


class RefundsQuery(ListQuery):
    """A page of refunds, of one session where it is named."""

    session: str | None = None


def _party(call: ApiRequest) -> str | None:
    return None if call.caller.admin else call.caller.party_id


async def create(call: ApiRequest) -> ApiResponse:
    """Refund all or part of a session's capture."""
    refund = await call.services.payments.refunds.refund(
        RefundRequest(
            refund_id=call.resource_id,
            session_id=parse_id("ses", call.body.session),
            amount_minor=call.body.amount,
            reason=RefundReason(call.body.reason),
            metadata=call.body.metadata,
        ),
        party_id=_party(call),
    )
    shown = refund_object(refund)
    return ApiResponse(body=shown, status=_CREATED, headers={"Location": f"/v1/refunds/{shown.id}"})


async def get(call: ApiRequest) -> ApiResponse:
    """One refund."""
    refund = await call.services.payments.refunds.get(
        party_id=_party(call), refund_id=call.path_id("id", "ref")
    )
    return ApiResponse(body=refund_object(refund))


async def list_all(call: ApiRequest) -> ApiResponse:
    """Refunds, newest first."""
    session: UUID | None = parse_id("ses", call.query.session) if call.query.session else None
    found = await call.services.payments.refunds.list(
        party_id=_party(call),
        session_id=session,
        before=before(call.query, "ref"),
        limit=call.query.limit + 1,
    )
    return ApiResponse(body=page([refund_object(refund) for refund in found], limit=call.query.limit))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/refunds",
        operation="createRefund",
        summary="Refund a session",
        description=(
            "Refunds a session in full or in part, in any number of requests, up to the captured amount. "
            "`requested` means that the PSP has not answered yet: wait for a webhook or poll the refund."
        ),
        tag="Refunds",
        handler=create,
        body=RefundBody,
        answers={201: api_schemas.RefundSchema},
        located=True,
        key_rule=KeyRule.REQUIRED,
        problems=(
            problems.NOT_FOUND,
            problems.STATE_CONFLICT,
            problems.OUTCOME_PENDING,
            problems.REFUND_EXCEEDS_CAPTURE,
        ),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/refunds",
        operation="listRefunds",
        summary="List refunds",
        tag="Refunds",
        handler=list_all,
        query=RefundsQuery,
        answers={200: api_schemas.RefundSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/refunds/{id}",
        operation="getRefund",
        summary="Get a refund",
        tag="Refunds",
        handler=get,
        answers={200: api_schemas.RefundSchema},
        problems=(problems.NOT_FOUND,),
    ),
)
