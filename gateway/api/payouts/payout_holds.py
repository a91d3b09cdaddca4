"""Payout holds: why a party is not paid, since when, until when.

Owns: the request and response schemas. Must not know: what a hold prevents. A hold is never edited, only
lifted.
"""

from typing import Annotated, Final

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, whole
from gateway.api.field_types import DayIn
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import own_party
from gateway.api.problems import FieldError, ProblemError
from gateway.payouts.hold_service import HoldPeriodError
from gateway.schemas import api_schemas
from gateway.webhooks import payout_events

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
    try:
        hold = await call.services.payout_holds.place(
            own_party(call), reason=body.reason, since=body.since, until=body.until, key=call.caller.key
        )
    except HoldPeriodError as error:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"{error}.",
            errors=[FieldError(pointer="/until", expected=f"a day after {error.since}")],
        ) from None
    return ApiResponse(body=payout_events.hold_object(hold), status=_CREATED)


async def list_all(call: ApiRequest) -> ApiResponse:
    """Holds in force first, then lifted ones, the latest first."""
    found = await call.services.payout_holds.list(own_party(call))
    shown = [payout_events.hold_object(one) for one in found]
    return ApiResponse(body=whole(shown))


async def lift(call: ApiRequest) -> ApiResponse:
    """Lift a hold: what is due is planned again. Another principal must lift that of a recorded return."""
    hold_id = call.path_id("hold_id", payout_events.HOLD)
    hold = await call.services.payout_holds.lift(own_party(call), hold_id, key=call.caller.key)
    return ApiResponse(body=payout_events.hold_object(hold))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/payout-holds",
        operation="createPayoutHold",
        summary="Hold a party's payouts",
        description="Cancels planned disbursements that were not sent yet. The party can read the reason.",
        tag="Payouts",
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
        handler=lift,
        answers={200: api_schemas.PayoutHoldSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
