"""Payout holds: why a party is not paid, since when, until when.

Owns: the request and response schemas. Must not know: what a hold prevents. A hold is never edited, only
lifted.
"""

from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import Field

from clearing.errors import ClearingInvariantViolation
from clearing.parties import service as party_service
from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import DayIn
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import principal, the_party
from gateway.api.problems import FieldError, ProblemError
from gateway.database import transaction
from gateway.webhooks import events, payout_events
from gateway.webhooks.events import EventType

_CREATED: Final = 201


class PayoutHoldBody(WireModel):
    """The reason, and the first and last day in the party's time zone."""

    reason: Annotated[
        str,
        Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"),
    ] = Field(description="Shown to the party.", examples=["a court order of 2026-11-20, file 12/26"])
    since: DayIn | None = Field(None, description="First day; by default today in the party's time zone.")
    until: DayIn | None = Field(None, description="Day on which it ends; null: until it is lifted.")


async def create(call: ApiRequest) -> ApiResponse:
    """Hold a party's payouts; planned disbursements are cancelled. The same hold again is one hold."""
    body: PayoutHoldBody = call.body
    now = call.services.now()
    payouts = call.services.clearing.payouts
    async with transaction(call.services.pool) as connection:
        party = await the_party(call, connection)
        since = body.since or now.astimezone(ZoneInfo(party.time_zone)).date()
        if body.until is not None and body.until <= since:
            raise ProblemError(
                problems.INVALID_PARAMETERS,
                f"until: {body.until} is not after {since}.",
                errors=[FieldError(pointer="/until", expected=f"a day after {since}")],
            )
        open_before = {one.id for one in await party_service.list_payout_holds(connection, party.id)}
        by = await principal(call, connection)
        hold_id = await payouts.place_hold(
            connection, party.id, reason=body.reason, since=since, until=body.until, by=by
        )
        hold = await party_service.lock_payout_hold(connection, hold_id)
        if hold is None:
            raise ClearingInvariantViolation(f"hold {hold_id} was placed and is not there")
        cancelled = await payouts.cancel_unpayable(connection, now=now, party_id=party.id)
        new = [] if hold_id in open_before else [payout_events.hold(EventType.PAYOUT_HOLD_PLACED, hold)]
        new += await payout_events.disbursement_events(
            connection, EventType.DISBURSEMENT_CANCELLED, cancelled
        )
        await events.record(connection, new, now=now)
    return ApiResponse(body=payout_events.hold_object(hold), status=_CREATED)


async def list_all(call: ApiRequest) -> ApiResponse:
    """Holds in force first, then lifted ones, the latest first."""
    async with call.services.pool.acquire() as connection:
        party = await the_party(call, connection)
        found = await party_service.list_payout_holds(connection, party.id)
    shown = [payout_events.hold_object(one) for one in found]
    return ApiResponse(body={"object": "list", "data": shown, "has_more": False, "next_cursor": None})


async def lift(call: ApiRequest) -> ApiResponse:
    """Lift a hold: what is due is planned again. Another principal must lift that of a recorded return."""
    now = call.services.now()
    hold_id = call.path_id("hold_id", payout_events.HOLD)
    async with transaction(call.services.pool) as connection:
        party = await the_party(call, connection)
        known = await party_service.lock_payout_hold(connection, hold_id)
        if known is None or known.party_id != party.id:
            raise ProblemError(problems.NOT_FOUND, "The party has no such payout hold.")
        by = await principal(call, connection)
        await call.services.clearing.payouts.lift_hold(connection, hold_id, by=by, now=now)
        hold = await party_service.lock_payout_hold(connection, hold_id) or known
        new = [payout_events.hold(EventType.PAYOUT_HOLD_LIFTED, hold)]
        await events.record(connection, new, now=now)
    return ApiResponse(body=payout_events.hold_object(hold))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/payout-holds",
        operation="createPayoutHold",
        summary="Hold a party's payouts",
        description="Cancels planned disbursements that were not sent yet. The party can read the reason.",
        tag="Payouts",
        scope=Scope.ADMIN,
        handler=create,
        body=PayoutHoldBody,
        answers={201: api_schemas.PayoutHoldSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/payout-holds",
        operation="listPayoutHolds",
        summary="List a party's payout holds",
        tag="Payouts",
        scope=Scope.SETTLEMENT_READ,
        handler=list_all,
        answers={200: api_schemas.PayoutHoldSchema},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="DELETE",
        path="/v1/parties/{id}/payout-holds/{hold_id}",
        operation="liftPayoutHold",
        summary="Lift a payout hold",
        tag="Payouts",
        scope=Scope.ADMIN,
        handler=lift,
        answers={200: api_schemas.PayoutHoldSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
