"""Large payments released by two, payments that came back, and due days counted again.

Owns: the wire form. Must not know how a payment is planned or paid. Who decides is whose API
key it is.
"""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.desks.payout_desk import PayoutDesk
from clearing.store import payout_terms
from clearing.store import payouts as payout_store
from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.problems import ProblemError
from gateway.http.settlement.payout_access import principal
from gateway.ids import format_id
from gateway.lanes import payout_news
from gateway.lanes.disbursement_lane import disbursement_object
from gateway.notify import events
from gateway.notify.events import EventType
from gateway.store import settlement

_PREFIX: Final = "dis"
_MOST: Final = 1000
Reason = Annotated[
    str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$")
]


class NothingIn(WireModel):
    """Nothing to say: who decides is whose key it is."""


class ReturnIn(WireModel):
    """Why the money came back."""

    reason: Reason = Field(examples=["the bank's letter of 2026-11-20: account closed"])


class ReplanIn(WireModel):
    """Why days are counted again."""

    reason: Reason = Field(examples=["TARGET closes on 2027-05-07, ECB notice 12/2026"])


class ApprovalOut(objects.PublicObject):
    """How many have released a payment, and how many it needs."""

    object: Literal["disbursement_approval"] = "disbursement_approval"
    disbursement: str
    approvals: int
    needed: int
    by: list[str] = Field(description="the principals, in the order of their release")


class PaymentRelease(objects.PublicObject):
    """A planned payment that waits for two to release it."""

    object: Literal["payment_release"] = "payment_release"
    disbursement: str = Field(examples=["dis_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    party: str
    amount: objects.Minor
    currency: objects.Currency
    due_date: date
    rail: Literal["bank", "psp"]
    needed: int
    by: list[str] = Field(description="the principals who have released it")


class ReplanOut(objects.PublicObject):
    """How many open sums have another due day now."""

    object: Literal["calendar_replan"] = "calendar_replan"
    moved: int


async def list_waiting(call: Call) -> Answer:
    """Planned payments that lack a release, the oldest first."""
    async with call.services.pool.acquire() as connection:
        desk = PayoutDesk(call.services.clearing)
        found = await desk.awaiting_release(connection, limit=_MOST + 1)
        by = await settlement.approvers(connection, [one.id for one in found])
    shown = [
        PaymentRelease(
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
    return Answer(body={"object": "list", "data": shown, "has_more": len(found) > _MOST, "next_cursor": None})


async def approve(call: Call) -> Answer:
    """One principal's release; the same one again counts once. The second lets the payment go."""
    disbursement_id = call.path_id("id", _PREFIX)
    now = call.services.now()
    async with transaction(call.services.pool) as connection:
        held = await payout_store.hold(connection, [disbursement_id])  # releases of one payment take turns
        if not held:
            raise ProblemError(problems.NOT_FOUND, "There is no such disbursement.")
        before = await settlement.approvers(connection, [disbursement_id])
        given, needed = await PayoutDesk(call.services.clearing).approve(
            connection, disbursement_id, by=await principal(call, connection), now=now
        )
        by = (await settlement.approvers(connection, [disbursement_id])).get(disbursement_id, [])
        if given >= needed > len(before.get(disbursement_id, [])):
            news = payout_news.payments(EventType.DISBURSEMENT_RELEASED, held)
            await events.record(connection, news, now=now)
    shown = format_id(_PREFIX, disbursement_id)
    return Answer(body=ApprovalOut(disbursement=shown, approvals=given, needed=needed, by=by))


async def take_back(call: Call) -> Answer:
    """A paid payment came back, and no statement says so: it is owed again, and its party is held."""
    disbursement_id = call.path_id("id", _PREFIX)
    now = call.services.now()
    async with transaction(call.services.pool) as connection:
        known = await payout_store.get(connection, disbursement_id)
        if known is None:
            raise ProblemError(problems.NOT_FOUND, "There is no such disbursement.")
        by = await principal(call, connection)
        returned = await PayoutDesk(call.services.clearing).returned(
            connection, disbursement_id, reason=call.body.reason, now=now, by=by
        )
        if returned is None:
            return Answer(body=disbursement_object(known))
        kept = await payout_terms.hold(connection, returned.hold_id)
        news = payout_news.payments(EventType.DISBURSEMENT_RETURNED, [returned.payment])
        news += [] if kept is None else [payout_news.hold(EventType.PAYOUT_HELD, kept)]
        await events.record(connection, news, now=now)
    return Answer(body=disbursement_object(returned.payment))


async def replan(call: Call) -> Answer:
    """Count every open due day ahead again by the present calendars and terms, with the reason."""
    async with transaction(call.services.pool) as connection:
        moved = await PayoutDesk(call.services.clearing).replan(
            connection, reason=call.body.reason, now=call.services.now()
        )
    return Answer(body=ReplanOut(moved=moved))


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/payment-releases",
        operation="listPaymentReleases",
        summary="List payments that wait for two",
        tag="Payouts",
        scope=Scope.ADMIN,
        handler=list_waiting,
        answers={200: PaymentRelease},
        listed=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/disbursements/{id}/approvals",
        operation="approveDisbursement",
        summary="Release a large disbursement",
        description="A disbursement above the release limit is paid once two principals have released it.",
        tag="Payouts",
        scope=Scope.ADMIN,
        handler=approve,
        body=NothingIn,
        body_required=False,
        answers={200: ApprovalOut},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    Endpoint(
        method="POST",
        path="/v1/disbursements/{id}/return",
        operation="returnDisbursement",
        summary="Record that a payment came back",
        description="For a return that no statement tells. Its hold is lifted by another principal only.",
        tag="Payouts",
        scope=Scope.ADMIN,
        handler=take_back,
        body=ReturnIn,
        answers={200: objects.Disbursement},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    Endpoint(
        method="POST",
        path="/v1/calendar-replans",
        operation="replanDueDates",
        summary="Count due days again",
        description="After a calendar or terms changed. What is due already is not moved.",
        tag="Payouts",
        scope=Scope.ADMIN,
        handler=replan,
        body=ReplanIn,
        answers={200: ReplanOut},
        key_rule=KeyRule.OPTIONAL,
    ),
)
