"""Money brought in: partner accounts and the platform's own float.

Owns: the paths. Must not know the PSP or the ledger. A reference names a payment once: repeating it is safe.
"""

from typing import Final, Literal

from pydantic import Field

from clearing.money import exponent
from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.models import CurrencyCode, Line, NonNegativeMinor, PositiveMinor
from gateway.http.problems import ProblemError
from gateway.http.services import FundingService
from gateway.ids import format_id
from gateway.payments.records import AccountRecord
from gateway.store import parties

_CREATED: Final = 201


class FundingIn(WireModel):
    """A payment that a partner made to the platform."""

    amount: PositiveMinor
    reference: Line = Field(description="the payment's own name, such as the bank's; once per party")


class CreditLimitIn(WireModel):
    """How far the account may go below zero."""

    credit_limit: NonNegativeMinor


class TopupIn(WireModel):
    """The platform's own money, brought to its balance at the PSP."""

    currency: CurrencyCode
    amount: PositiveMinor
    reference: Line


class PartnerAccountOut(objects.PublicObject):
    """A funded account; `available` = balance - held + credit_limit. Minor units."""

    object: Literal["partner_account"] = "partner_account"
    party: str
    currency: objects.Currency
    balance: objects.Minor
    held: objects.Minor
    credit_limit: objects.Minor
    available: objects.Minor


class TopupOut(objects.PublicObject):
    """A top-up that was booked."""

    id: str
    object: Literal["topup"] = "topup"
    currency: objects.Currency
    amount: objects.Minor
    reference: str


def _shown(account: AccountRecord) -> PartnerAccountOut:
    return PartnerAccountOut(
        party=account.party_id,
        currency=account.currency,
        balance=account.balance_minor,
        held=account.held_minor,
        credit_limit=account.credit_limit_minor,
        available=account.balance_minor - account.held_minor + account.credit_limit_minor,
    )


def _service(call: Call) -> FundingService:
    if call.services.funding is None:
        raise ProblemError(problems.UNAVAILABLE, "Funding is not wired in this process.")
    return call.services.funding


async def _check(call: Call) -> None:
    """The party and the currency exist; asked before any money moves."""
    exponent(call.path["currency"])
    async with call.services.pool.acquire() as connection:
        if await parties.find_party(connection, call.path["party_id"]) is None:
            raise ProblemError(problems.NOT_FOUND, f"There is no party {call.path['party_id']}.")


async def fund(call: Call) -> Answer:
    """Raise a partner's account by what it paid."""
    await _check(call)
    account = await _service(call).fund_partner(
        funding_id=call.resource_id,
        party_id=call.path["party_id"],
        currency=call.path["currency"],
        amount_minor=call.body.amount,
        reference=call.body.reference,
    )
    return Answer(body=_shown(account), status=_CREATED)


async def set_limit(call: Call) -> Answer:
    """Set the credit limit; opens the account where there is none."""
    await _check(call)
    account = await _service(call).set_credit_limit(
        party_id=call.path["party_id"],
        currency=call.path["currency"],
        credit_limit_minor=call.body.credit_limit,
    )
    return Answer(body=_shown(account))


async def get(call: Call) -> Answer:
    """A partner's account: its own, or any for the platform."""
    party_id = call.path["party_id"]
    if not call.caller.admin and party_id != call.caller.party_id:
        raise ProblemError(problems.NOT_FOUND, f"There is no account of {party_id}.")
    account = await _service(call).get_account(party_id=party_id, currency=call.path["currency"])
    return Answer(body=_shown(account))


async def top_up(call: Call) -> Answer:
    """Bring the platform's own money to its balance at the PSP."""
    exponent(call.body.currency)
    await _service(call).top_up_treasury(
        currency=call.body.currency,
        amount_minor=call.body.amount,
        reference=call.body.reference,
    )
    shown = TopupOut(
        id=format_id("top", call.resource_id),
        currency=call.body.currency,
        amount=call.body.amount,
        reference=call.body.reference,
    )
    return Answer(body=shown, status=_CREATED)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/partner-accounts/{party_id}/{currency:[A-Z]{3}}/fundings",
        operation="fundPartnerAccount",
        summary="Fund a partner account",
        tag="Money in",
        scope=Scope.ADMIN,
        handler=fund,
        body=FundingIn,
        answers={201: PartnerAccountOut},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    Endpoint(
        method="PUT",
        path="/v1/partner-accounts/{party_id}/{currency:[A-Z]{3}}",
        operation="setCreditLimit",
        summary="Set a partner account's credit limit",
        tag="Money in",
        scope=Scope.ADMIN,
        handler=set_limit,
        body=CreditLimitIn,
        answers={200: PartnerAccountOut},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    Endpoint(
        method="GET",
        path="/v1/partner-accounts/{party_id}/{currency:[A-Z]{3}}",
        operation="getPartnerAccount",
        summary="Get a partner account",
        tag="Money in",
        scope=Scope.CAPTURE,
        handler=get,
        answers={200: PartnerAccountOut},
        problems=(problems.NOT_FOUND,),
    ),
    Endpoint(
        method="POST",
        path="/v1/treasury/topups",
        operation="topUpTreasury",
        summary="Top up the platform's balance",
        tag="Money in",
        scope=Scope.ADMIN,
        handler=top_up,
        body=TopupIn,
        answers={201: TopupOut},
        key_rule=KeyRule.REQUIRED,
    ),
)
