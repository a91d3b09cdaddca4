"""Approvals of large disbursements, returned disbursements, and rescheduling of due dates.

Owns: the request and response schemas. Must not know: how a disbursement is planned or paid. The person who
decides is the principal of the API key.
"""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, whole
from gateway.api.field_types import EmptyBody
from gateway.api.idempotency import KeyRule
from gateway.ids import format_id
from gateway.schemas import api_schemas
from gateway.webhooks.payout_events import disbursement_object

_PREFIX: Final = "dis"
_MOST: Final = 1000
Reason = Annotated[
    str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$")
]


class ReturnedDisbursementBody(WireModel):
    """Why the disbursement was returned."""

    reason: Reason = Field(examples=["the bank's letter of 2026-11-20: account closed"])


class RescheduleBody(WireModel):
    """Why due dates are computed again."""

    reason: Reason = Field(examples=["TARGET closes on 2027-05-07, ECB notice 12/2026"])


class DisbursementApprovalSchema(api_schemas.PublicSchema):
    """How many principals have approved a disbursement, and how many it needs."""

    object: Literal["disbursement_approval"] = "disbursement_approval"
    disbursement: str
    approvals: int
    needed: int
    by: list[str] = Field(description="The principals, in the order of approval.")


class DisbursementAwaitingApprovalSchema(api_schemas.PublicSchema):
    """A planned disbursement that needs two approvals."""

    object: Literal["disbursement_approval"] = "disbursement_approval"
    disbursement: str = Field(examples=["dis_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    party: str
    amount: api_schemas.Minor
    currency: api_schemas.Currency
    due_date: date
    rail: Literal["bank", "psp"]
    needed: int
    by: list[str] = Field(description="The principals who have approved it.")


class RescheduleSchema(api_schemas.PublicSchema):
    """How many open payables have a new due date."""

    object: Literal["due_date_reschedule"] = "due_date_reschedule"
    moved: int


async def list_waiting(call: ApiRequest) -> ApiResponse:
    """Planned disbursements that lack an approval, the oldest first."""
    found, by = await call.services.disbursement_administration.list_awaiting_approval(limit=_MOST + 1)
    shown = [
        DisbursementAwaitingApprovalSchema(
            disbursement=format_id(_PREFIX, one.id),
            party=one.party_id,
            amount=one.amount_minor,
            currency=one.currency,
            due_date=one.period,
            rail="bank" if one.rail == "bank" else "psp",
            needed=one.approvals_needed,
            by=list(by.get(one.id, ())),
        )
        for one in found[:_MOST]
    ]
    return ApiResponse(body=whole(shown, more=len(found) > _MOST))


async def approve(call: ApiRequest) -> ApiResponse:
    """Approve as one principal, who counts once. After the second approval the disbursement is paid."""
    disbursement_id = call.path_id("id", _PREFIX)
    approvals = await call.services.disbursement_administration.approve(disbursement_id, key=call.caller.key)
    shown = DisbursementApprovalSchema(
        disbursement=format_id(_PREFIX, disbursement_id),
        approvals=approvals.given,
        needed=approvals.needed,
        by=list(approvals.by),
    )
    return ApiResponse(body=shown)


async def record_return(call: ApiRequest) -> ApiResponse:
    """Record a return that no statement reports: its payables reopen, and its party's payouts are held."""
    returned = await call.services.disbursement_administration.record_return(
        call.path_id("id", _PREFIX), reason=call.body.reason, key=call.caller.key
    )
    return ApiResponse(body=disbursement_object(returned))


async def reschedule(call: ApiRequest) -> ApiResponse:
    """Compute every open due date again by the present calendars and terms, recording the reason."""
    moved = await call.services.disbursement_administration.reschedule(reason=call.body.reason)
    return ApiResponse(body=RescheduleSchema(moved=moved))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/disbursement-approvals",
        operation="listDisbursementsAwaitingApproval",
        summary="List disbursements awaiting approval",
        tag="Payouts",
        handler=list_waiting,
        answers={200: DisbursementAwaitingApprovalSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/disbursements/{id}/approve",
        operation="approveDisbursement",
        summary="Approve a disbursement",
        description="A disbursement above the party's approval limit is paid after two principals have "
        "approved it.",
        tag="Payouts",
        handler=approve,
        body=EmptyBody,
        body_required=False,
        answers={200: DisbursementApprovalSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/disbursements/{id}/return",
        operation="returnDisbursement",
        summary="Record a returned disbursement",
        description="Records a return that no bank statement reports. The party's payouts are put on "
        "hold; only another principal can lift that hold.",
        tag="Payouts",
        handler=record_return,
        body=ReturnedDisbursementBody,
        answers={200: api_schemas.DisbursementSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/payables/reschedule",
        operation="rescheduleDueDates",
        summary="Reschedule due dates",
        description="Computes open due dates again after a calendar or payout terms changed. A payable "
        "that is due already is not moved.",
        tag="Payouts",
        handler=reschedule,
        body=RescheduleBody,
        answers={200: RescheduleSchema},
        key_rule=KeyRule.OPTIONAL,
    ),
)
