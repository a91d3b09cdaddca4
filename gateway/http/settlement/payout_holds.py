"""Payout holds: why a party is not paid, since when, until when.

Owns: the wire form. Must not know what a hold stops. A hold is never edited but lifted.
"""

from datetime import date
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import Field

from clearing.desks.payout_desk import PayoutDesk
from clearing.errors import InvariantViolation
from clearing.store import payout_terms
from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.problems import FieldError, ProblemError
from gateway.http.settlement.payout_access import principal, the_party
from gateway.lanes import payout_news
from gateway.notify import events
from gateway.notify.events import EventType

_CREATED: Final = 201


class PayoutHoldIn(WireModel):
    """Why, and from which day of the party to which."""

    reason: Annotated[
        str,
        Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"),
    ] = Field(description="told to the party", examples=["a court order of 2026-11-20, file 12/26"])
    since: date | None = Field(
        None, description="the first day; today on the party's calendar unless it says"
    )
    until: date | None = Field(None, description="the day on which it ends; null: until it is lifted")


async def create(call: Call) -> Answer:
    """Stop a party's payouts; what was planned and not sent yet is withdrawn. Told twice it is one hold."""
    body: PayoutHoldIn = call.body
    now = call.services.now()
    desk = PayoutDesk(call.services.clearing)
    async with transaction(call.services.pool) as connection:
        party = await the_party(call, connection)
        since = body.since or now.astimezone(ZoneInfo(party.time_zone)).date()
        if body.until is not None and body.until <= since:
            raise ProblemError(
                problems.INVALID_PARAMETERS,
                f"until: {body.until} is not after {since}.",
                errors=[FieldError(pointer="/until", expected=f"a day after {since}")],
            )
        open_before = {one.id for one in await payout_terms.holds_of(connection, party.id)}
        by = await principal(call, connection)
        hold_id = await desk.hold(
            connection, party.id, reason=body.reason, since=since, until=body.until, by=by
        )
        kept = await payout_terms.hold(connection, hold_id)
        if kept is None:
            raise InvariantViolation(f"hold {hold_id} was placed and is not there")
        withdrawn = await desk.withdraw_stopped(connection, now=now, party_id=party.id)
        news = [] if hold_id in open_before else [payout_news.hold(EventType.PAYOUT_HELD, kept)]
        news += payout_news.payments(EventType.DISBURSEMENT_WITHDRAWN, withdrawn)
        await events.record(connection, news, now=now)
    return Answer(body=payout_news.hold_object(kept), status=_CREATED)


async def list_all(call: Call) -> Answer:
    """Open holds first, then those that were lifted, the latest first."""
    async with call.services.pool.acquire() as connection:
        party = await the_party(call, connection)
        found = await payout_terms.holds_of(connection, party.id)
    shown = [payout_news.hold_object(one) for one in found]
    return Answer(body={"object": "list", "data": shown, "has_more": False, "next_cursor": None})


async def lift(call: Call) -> Answer:
    """End a hold: what is due is planned again. A return told by hand needs another one to lift its hold."""
    now = call.services.now()
    hold_id = call.path_id("hold_id", payout_news.HOLD)
    async with transaction(call.services.pool) as connection:
        party = await the_party(call, connection)
        known = await payout_terms.hold(connection, hold_id)
        if known is None or known.party_id != party.id:
            raise ProblemError(problems.NOT_FOUND, "The party has no such hold.")
        by = await principal(call, connection)
        await PayoutDesk(call.services.clearing).lift_hold(connection, hold_id, by=by, now=now)
        kept = await payout_terms.hold(connection, hold_id) or known
        news = [payout_news.hold(EventType.PAYOUT_RELEASED, kept)]
        await events.record(connection, news, now=now)
    return Answer(body=payout_news.hold_object(kept))


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/parties/{id}/payout-holds",
        operation="createPayoutHold",
        summary="Hold a party's payouts",
        description="Payments that were planned and not sent yet are withdrawn; the party hears why.",
        tag="Payouts",
        scope=Scope.ADMIN,
        handler=create,
        body=PayoutHoldIn,
        answers={201: objects.PayoutHold},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
    Endpoint(
        method="GET",
        path="/v1/parties/{id}/payout-holds",
        operation="listPayoutHolds",
        summary="List a party's payout holds",
        tag="Payouts",
        scope=Scope.SETTLEMENT_READ,
        handler=list_all,
        answers={200: objects.PayoutHold},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/parties/{id}/payout-holds/{hold_id}",
        operation="liftPayoutHold",
        summary="Lift a payout hold",
        tag="Payouts",
        scope=Scope.ADMIN,
        handler=lift,
        answers={200: objects.PayoutHold},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
