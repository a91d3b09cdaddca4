"""Approvals of large disbursements, returned disbursements, and rescheduling of due dates.

Owns: the request and response schemas. Must not know: how a disbursement is planned or paid. The person who
decides is the principal of the API key.
"""

from datetime import date
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from clearing.parties import service as party_service
from clearing.reporting import disbursements
from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import EmptyBody
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import principal
from gateway.api.problems import ProblemError
from gateway.database import Connection, transaction
from gateway.ids import format_id
from gateway.webhooks import events, payout_events
from gateway.webhooks.events import EventType
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
    async with call.services.pool.acquire() as connection:
        found = await call.services.clearing.payouts.list_awaiting_approval(connection, limit=_MOST + 1)
        by = await disbursements.list_approvers(connection, [one.id for one in found])
    shown = [
        DisbursementAwaitingApprovalSchema(
            disbursement=format_id(_PREFIX, one.id),
            party=one.party_id,
            amount=one.amount_minor,
            currency=one.currency,
            due_date=one.period,
            rail="bank" if one.rail == "bank" else "psp",
            needed=one.approvals_needed,
            by=by.get(one.id, []),
        )
        for one in found[:_MOST]
    ]
    return ApiResponse(
        body={"object": "list", "data": shown, "has_more": len(found) > _MOST, "next_cursor": None}
    )


async def approve(call: ApiRequest) -> ApiResponse:
    """Approve as one principal, who counts once. After the second approval the disbursement is paid."""
    disbursement_id = call.path_id("id", _PREFIX)
    now = call.services.now()
    async with transaction(call.services.pool) as connection:
        # Approvals of one disbursement wait for each other.
        disbursement = await call.services.clearing.payouts.lock_disbursement(connection, disbursement_id)
        if disbursement is None:
            raise ProblemError(problems.NOT_FOUND, "There is no such disbursement.")
        before = await disbursements.list_approvers(connection, [disbursement_id])
        given, needed = await call.services.clearing.payouts.approve(
            connection, disbursement_id, by=await principal(call, connection), now=now
        )
        by = (await disbursements.list_approvers(connection, [disbursement_id])).get(disbursement_id, [])
        if given >= needed > len(before.get(disbursement_id, [])):
            new = await payout_events.disbursement_events(
                connection, EventType.DISBURSEMENT_APPROVED, [disbursement]
            )
            await events.record(connection, new, now=now)
    shown = format_id(_PREFIX, disbursement_id)
    return ApiResponse(
        body=DisbursementApprovalSchema(disbursement=shown, approvals=given, needed=needed, by=by)
    )


async def record_return(call: ApiRequest) -> ApiResponse:
    """Record a return that no statement reports: its payables reopen, and its party's payouts are held."""
    disbursement_id = call.path_id("id", _PREFIX)
    now = call.services.now()
    async with transaction(call.services.pool) as connection:
        known = await call.services.clearing.payouts.find_disbursement(connection, disbursement_id)
        if known is None:
            raise ProblemError(problems.NOT_FOUND, "There is no such disbursement.")
        by = await principal(call, connection)
        returned = await call.services.clearing.payouts.record_return(
            connection, disbursement_id, reason=call.body.reason, now=now, by=by
        )
        if returned is None:
            return ApiResponse(body=await _shown(connection, disbursement_id))
        hold = await party_service.lock_payout_hold(connection, returned.hold_id)
        new = await payout_events.disbursement_events(
            connection, EventType.DISBURSEMENT_RETURNED, [returned.disbursement]
        )
        new += [] if hold is None else [payout_events.hold(EventType.PAYOUT_HOLD_PLACED, hold)]
        await events.record(connection, new, now=now)
        return ApiResponse(body=await _shown(connection, disbursement_id))


async def _shown(connection: Connection, disbursement_id: UUID) -> api_schemas.DisbursementSchema:
    found = await disbursements.find_disbursement(connection, disbursement_id=disbursement_id, party_id=None)
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such disbursement.")
    return disbursement_object(found)


async def reschedule(call: ApiRequest) -> ApiResponse:
    """Compute every open due date again by the present calendars and terms, recording the reason."""
    async with transaction(call.services.pool) as connection:
        moved = await call.services.clearing.payouts.reschedule(
            connection, reason=call.body.reason, now=call.services.now()
        )
    return ApiResponse(body=RescheduleSchema(moved=moved))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/disbursement-approvals",
        operation="listDisbursementsAwaitingApproval",
        summary="List disbursements awaiting approval",
        tag="Payouts",
        scope=Scope.ADMIN,
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
        scope=Scope.ADMIN,
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
        scope=Scope.ADMIN,
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
        scope=Scope.ADMIN,
        handler=reschedule,
        body=RescheduleBody,
        answers={200: RescheduleSchema},
        key_rule=KeyRule.OPTIONAL,
    ),
)
