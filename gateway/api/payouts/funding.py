"""Money brought in: partner accounts and the platform's own float.

Owns: the paths. Must not know the PSP or the ledger. A reference names a payment once: repeating it is safe.
"""

from typing import Final, Literal

from pydantic import Field

from clearing.money import exponent
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import CurrencyCode, Line, ListQuery, NonNegativeMinor, PositiveMinor, before
from gateway.api.idempotency import KeyRule
from gateway.api.problems import ProblemError
from gateway.payments.funding import FundingService
from gateway.payments.presenters import top_up_object
from gateway.payments.records import AccountRecord
from gateway.schemas import funding

_CREATED: Final = 201


class FundingBody(WireModel):
    """A payment that a partner made to the platform."""

    amount: PositiveMinor
    reference: Line = Field(description="the payment's own name, such as the bank's; once per party")


class CreditLimitBody(WireModel):
    """The lowest balance, as a credit limit."""

    credit_limit: NonNegativeMinor


class TopupBody(WireModel):
    """A transfer of the platform's own money to its balance at the PSP."""

    currency: CurrencyCode
    amount: PositiveMinor
    reference: Line


class TopupsQuery(ListQuery):
    """Which top-ups to list, newest first."""

    state: Literal["requested", "pending", "arrived", "failed", "cancelled", "reversed"] | None = Field(
        None, description="only in this state"
    )


def _shown(account: AccountRecord) -> funding.PartnerAccountSchema:
    return funding.PartnerAccountSchema(
        party=account.party_id,
        currency=account.currency,
        balance=account.balance_minor,
        held=account.held_minor,
        credit_limit=account.credit_limit_minor,
        available=account.balance_minor - account.held_minor + account.credit_limit_minor,
        pending=account.pending_minor,
    )


def _service(call: ApiRequest) -> FundingService:
    if call.services.funding is None:
        raise ProblemError(problems.UNAVAILABLE, "This process does not accept funding.")
    return call.services.funding


async def _check(call: ApiRequest) -> None:
    """The party and the currency exist; checked before any money moves."""
    exponent(call.path["currency"])
    await call.services.parties.get(call.path["party_id"])


async def fund(call: ApiRequest) -> ApiResponse:
    """Raise a partner's account by what it paid."""
    await _check(call)
    account = await _service(call).fund_partner(
        funding_id=call.resource_id,
        party_id=call.path["party_id"],
        currency=call.path["currency"],
        amount_minor=call.body.amount,
        reference=call.body.reference,
    )
    return ApiResponse(body=_shown(account), status=_CREATED)


async def set_limit(call: ApiRequest) -> ApiResponse:
    """Set the credit limit; opens the account where there is none."""
    await _check(call)
    account = await _service(call).set_credit_limit(
        party_id=call.path["party_id"],
        currency=call.path["currency"],
        credit_limit_minor=call.body.credit_limit,
    )
    return ApiResponse(body=_shown(account))


async def get(call: ApiRequest) -> ApiResponse:
    """A partner's account: its own, or any for the platform."""
    party_id = call.path["party_id"]
    if not call.caller.admin and party_id != call.caller.party_id:
        raise ProblemError(problems.NOT_FOUND, f"There is no account of {party_id}.")
    account = await _service(call).get_account(party_id=party_id, currency=call.path["currency"])
    return ApiResponse(body=_shown(account))


async def top_up(call: ApiRequest) -> ApiResponse:
    """Bring the platform's own money to its balance at the PSP."""
    exponent(call.body.currency)
    top_up = await _service(call).top_up_treasury(
        currency=call.body.currency,
        amount_minor=call.body.amount,
        reference=call.body.reference,
    )
    return ApiResponse(body=top_up_object(top_up), status=_CREATED)


async def list_top_ups(call: ApiRequest) -> ApiResponse:
    """Top-ups, the partners' and the platform's own."""
    query: TopupsQuery = call.query
    found = await _service(call).list_top_ups(
        state=query.state, before=before(query, "top"), limit=query.limit + 1
    )
    return ApiResponse(body=page([top_up_object(one) for one in found], limit=query.limit))


async def get_top_up(call: ApiRequest) -> ApiResponse:
    """One top-up."""
    return ApiResponse(
        body=top_up_object(await _service(call).get_top_up(top_up_id=call.path_id("id", "top")))
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/partner-accounts/{party_id}/{currency:[A-Z]{3}}/fundings",
        operation="fundPartnerAccount",
        summary="Fund a partner account",
        description="Tops up at the PSP. Until the money has arrived there it is `pending`, and no balance.",
        tag="Money in",
        handler=fund,
        body=FundingBody,
        answers={201: funding.PartnerAccountSchema},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="PUT",
        path="/v1/partner-accounts/{party_id}/{currency:[A-Z]{3}}",
        operation="setCreditLimit",
        summary="Set a partner account's credit limit",
        tag="Money in",
        handler=set_limit,
        body=CreditLimitBody,
        answers={200: funding.PartnerAccountSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/partner-accounts/{party_id}/{currency:[A-Z]{3}}",
        operation="getPartnerAccount",
        summary="Get a partner account",
        tag="Money in",
        handler=get,
        answers={200: funding.PartnerAccountSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/treasury/topups",
        operation="topUpTreasury",
        summary="Top up the platform's balance",
        description="The PSP takes days to bring the money in: it is booked at `top_up.arrived`.",
        tag="Money in",
        handler=top_up,
        body=TopupBody,
        answers={201: funding.TopupSchema},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.STATE_CONFLICT,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/treasury/topups",
        operation="listTopups",
        summary="List top-ups",
        description="The platform's own and those of funded accounts, newest first.",
        tag="Money in",
        handler=list_top_ups,
        query=TopupsQuery,
        answers={200: funding.TopupSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/treasury/topups/{id}",
        operation="getTopup",
        summary="Get a top-up",
        tag="Money in",
        handler=get_top_up,
        answers={200: funding.TopupSchema},
        problems=(problems.NOT_FOUND,),
    ),
)
