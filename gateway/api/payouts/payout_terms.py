"""Payout terms: cadence, reserve, approval limit and deregistration of a party.

Owns: the request and response schemas. Must not know: how a disbursement is planned. Terms apply to sums that
become payable from now on; a planned disbursement that no longer fits them is cancelled and planned again.
"""

from datetime import date
from typing import Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from clearing.parties.party import Party
from clearing.parties.payout_terms import Cadence, PayoutTerms
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import DayIn, NonNegativeMinor, PositiveMinor
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import own_party
from gateway.schemas import api_schemas

_YEAR: Final = 366


class PayoutTermsBody(WireModel):
    """All of a party's payout terms; a field that is missing has its default."""

    cadence: Literal["daily", "weekly", "monthly"] = "daily"
    cadence_day: int = Field(
        1,
        ge=1,
        le=31,
        description="Weekly: 1 (Monday) to 7 (Sunday). Monthly: 1 to 31; 31 is the last day of the month.",
    )
    reserve_basis_points: int = Field(
        0, ge=0, le=10_000, description="Share of each disbursement's sales that is withheld.", examples=[500]
    )
    reserve_days: int = Field(
        0, ge=0, le=_YEAR, description="Days after which the reserve is released.", examples=[30]
    )
    approval_above: NonNegativeMinor | None = Field(
        None,
        description="Disbursements above this amount need two approvals; null: none does.",
        examples=[5_000_000],
    )
    instant_up_to: PositiveMinor | None = Field(
        None,
        description="Bank disbursements in EUR up to this amount are sent as SEPA Instant; null: none is.",
    )
    deregistered_on: DayIn | None = Field(
        None, description="From this day on all open payables are paid, whatever the minimum payout."
    )


class PayoutTermsSchema(api_schemas.PublicSchema):
    """A party's payout terms."""

    object: Literal["payout_terms"] = "payout_terms"
    party: str
    cadence: Literal["daily", "weekly", "monthly"]
    cadence_day: int
    terms_days: int = Field(description="Clearing days from the end of the period to the due date.")
    minimum_payout: api_schemas.Minor
    settlement_currency: api_schemas.Currency
    reserve_basis_points: int
    reserve_days: int
    approval_above: api_schemas.Minor | None
    instant_up_to: api_schemas.Minor | None
    deregistered_on: date | None
    paid_by: Literal["bank", "psp"] | None = Field(description="Null if the party has no account.")
    held: bool = Field(description="Whether a hold is in force or new bank details are pending.")


async def get(call: ApiRequest) -> ApiResponse:
    """The present terms; by default those of a party without any."""
    return ApiResponse(body=_shown(await call.services.payout_terms.get(own_party(call)), call))


async def put(call: ApiRequest) -> ApiResponse:
    """Set payout terms; planned disbursements that no longer fit them are cancelled."""
    body: PayoutTermsBody = call.body
    terms = PayoutTerms(
        cadence=Cadence(body.cadence),
        cadence_day=body.cadence_day,
        reserve_bps=body.reserve_basis_points,
        reserve_days=body.reserve_days,
        approval_above_minor=body.approval_above,
        instant_up_to_minor=body.instant_up_to,
        deregistered_on=body.deregistered_on,
    )
    party = await call.services.payout_terms.put(own_party(call), terms, key=call.caller.key)
    return ApiResponse(body=_shown(party, call))


def _shown(party: Party, call: ApiRequest) -> PayoutTermsSchema:
    terms = party.payout_terms
    today = call.services.now().astimezone(ZoneInfo(party.time_zone)).date()
    by_psp: Literal["psp"] | None = None if party.connected_account is None else "psp"
    paid_by: Literal["bank", "psp"] | None = by_psp if terms.bank is None else "bank"
    return PayoutTermsSchema(
        party=party.id,
        cadence=terms.cadence.value,
        cadence_day=terms.cadence_day,
        terms_days=party.terms_days,
        minimum_payout=party.minimum_payout_minor,
        settlement_currency=party.settlement_currency,
        reserve_basis_points=terms.reserve_bps,
        reserve_days=terms.reserve_days,
        approval_above=terms.approval_above_minor,
        instant_up_to=terms.instant_up_to_minor,
        deregistered_on=terms.deregistered_on,
        paid_by=paid_by,
        held=terms.bank_pending
        or party.payout_hold is not None
        or terms.held_on(today, rail=paid_by) is not None,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/payout-terms",
        operation="getPayoutTerms",
        summary="Get payout terms",
        tag="Payouts",
        handler=get,
        answers={200: PayoutTermsSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="PUT",
        path="/v1/parties/{id}/payout-terms",
        operation="putPayoutTerms",
        summary="Set payout terms",
        description="The terms apply to sums that become payable from now on. Raising or removing "
        "`approval_above` also puts payouts on hold. Only another principal can lift that hold.",
        tag="Payouts",
        handler=put,
        body=PayoutTermsBody,
        answers={200: PayoutTermsSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
)
