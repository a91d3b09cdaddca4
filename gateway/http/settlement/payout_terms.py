"""Payout terms: how often a party is paid, what stays behind, and what needs a second pair of eyes.

Owns: the wire form. Must not know how a payment is planned. Terms hold for sums that become payable from now
on; a payment that was planned and no longer fits them is withdrawn and planned anew.
"""

from datetime import date
from typing import Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from clearing.desks.payout_desk import PayoutDesk
from clearing.parties.party import Party
from clearing.parties.schedule import Cadence, PayoutTerms
from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.models import NonNegativeMinor, PositiveMinor
from gateway.http.settlement.payout_access import principal, the_party
from gateway.lanes import payout_news
from gateway.notify import events
from gateway.notify.events import EventType

_YEAR: Final = 366


class PayoutTermsIn(WireModel):
    """All of a party's payout terms; what is left out has its default."""

    cadence: Literal["daily", "weekly", "monthly"] = "daily"
    cadence_day: int = Field(
        1,
        ge=1,
        le=31,
        description="weekly: 1 Monday to 7 Sunday; monthly: 1 to 31, of which 31 is the last day",
    )
    reserve_basis_points: int = Field(
        0, ge=0, le=10_000, description="of each payment's sales", examples=[500]
    )
    reserve_days: int = Field(
        0, ge=0, le=_YEAR, description="after which the reserve is released", examples=[30]
    )
    release_above: NonNegativeMinor | None = Field(
        None,
        description="a payment above it is paid once two have released it; null: none is",
        examples=[5_000_000],
    )
    instant_up_to: PositiveMinor | None = Field(
        None, description="a bank payment in EUR of at most this goes as SEPA Instant; null: none does"
    )
    deregistered_on: date | None = Field(
        None, description="from then on all that is open is paid, whatever the minimum"
    )


class PayoutTermsOut(objects.PublicObject):
    """A party's payout terms."""

    object: Literal["payout_terms"] = "payout_terms"
    party: str
    cadence: Literal["daily", "weekly", "monthly"]
    cadence_day: int
    terms_days: int = Field(description="paid so many clearing days after the period closes")
    minimum_payout: objects.Minor
    settlement_currency: objects.Currency
    reserve_basis_points: int
    reserve_days: int
    release_above: objects.Minor | None
    instant_up_to: objects.Minor | None
    deregistered_on: date | None
    paid_by: Literal["bank", "psp"] | None = Field(description="null: there is no account to pay to")
    held: bool = Field(description="a hold is in force, or new bank details wait for their confirmation")


async def get(call: Call) -> Answer:
    """The terms as they are; a party that agreed nothing else has the defaults."""
    async with call.services.pool.acquire() as connection:
        return Answer(body=_shown(await the_party(call, connection), call))


async def put(call: Call) -> Answer:
    """Agree other terms; a planned payment that no longer fits them is withdrawn."""
    body: PayoutTermsIn = call.body
    terms = PayoutTerms(
        cadence=Cadence(body.cadence),
        cadence_day=body.cadence_day,
        reserve_bps=body.reserve_basis_points,
        reserve_days=body.reserve_days,
        release_above_minor=body.release_above,
        instant_up_to_minor=body.instant_up_to,
        deregistered_on=body.deregistered_on,
    )
    now = call.services.now()
    desk = PayoutDesk(call.services.clearing)
    async with transaction(call.services.pool) as connection:
        party = await the_party(call, connection)
        by = await principal(call, connection)
        await desk.put_terms(connection, party.id, terms, by=by, now=now)
        if _loosened(party.payout_terms.release_above_minor, body.release_above):
            hold_id = await desk.hold(
                connection,
                party.id,
                reason="payments that two had to release would need none: to be agreed by another person",
                since=now.astimezone(ZoneInfo(party.time_zone)).date(),
                until=None,
                by=by,
                second_person=True,
            )
            await payout_news.record_hold(connection, hold_id, [], now=now)
        withdrawn = await desk.withdraw_stopped(connection, now=now, party_id=party.id)
        news = payout_news.payments(EventType.DISBURSEMENT_WITHDRAWN, withdrawn)
        await events.record(connection, news, now=now)
        return Answer(body=_shown(await the_party(call, connection), call))


def _loosened(before: int | None, after: int | None) -> bool:
    """Whether a payment that needed two would need nobody: one person must not bring that about alone."""
    return before is not None and (after is None or after > before)


def _shown(party: Party, call: Call) -> PayoutTermsOut:
    terms = party.payout_terms
    today = call.services.now().astimezone(ZoneInfo(party.time_zone)).date()
    by_psp = None if party.connected_account is None else "psp"
    return PayoutTermsOut(
        party=party.id,
        cadence=terms.cadence.value,
        cadence_day=terms.cadence_day,
        terms_days=party.terms_days,
        minimum_payout=party.minimum_payout_minor,
        settlement_currency=party.settlement_currency,
        reserve_basis_points=terms.reserve_bps,
        reserve_days=terms.reserve_days,
        release_above=terms.release_above_minor,
        instant_up_to=terms.instant_up_to_minor,
        deregistered_on=terms.deregistered_on,
        paid_by=by_psp if terms.bank is None else "bank",
        held=terms.bank_pending or party.payout_hold is not None or terms.held_on(today) is not None,
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/parties/{id}/payout-terms",
        operation="getPayoutTerms",
        summary="Get payout terms",
        tag="Payouts",
        scope=Scope.SETTLEMENT_READ,
        handler=get,
        answers={200: PayoutTermsOut},
        problems=(problems.NOT_FOUND,),
    ),
    Endpoint(
        method="PUT",
        path="/v1/parties/{id}/payout-terms",
        operation="putPayoutTerms",
        summary="Agree payout terms",
        description="They hold for sums that become payable from now on. A higher `release_above`, or none "
        "any more, holds the party's payouts until another principal lifts the hold.",
        tag="Payouts",
        scope=Scope.ADMIN,
        handler=put,
        body=PayoutTermsIn,
        answers={200: PayoutTermsOut},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
)
