"""Reconciliation over HTTP: the differences that stand, and release of large payments by two people.

Owns: the wire form. Must not know how anything is compared or paid. Only the platform sees any of it.
"""

from datetime import date
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field

from clearing.desks.payout_desk import PayoutDesk
from clearing.desks.reconciler import Reconciler
from clearing.errors import StateConflictError
from clearing.reconciliation.report import OpenDifference
from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, QueryModel, WireModel
from gateway.http.problems import ProblemError
from gateway.ids import format_id

_MOST: Final = 1000


class DifferencesQuery(QueryModel):
    """How many to show, and of whom."""

    limit: int = Field(100, ge=1, le=_MOST)
    owner: Annotated[str, Field(max_length=40)] | None = None


class ApprovalIn(WireModel):
    """Who releases the payment: a person's name, for the record."""

    approver: Annotated[str, Field(min_length=1, max_length=100)]


class DifferenceOut(objects.PublicObject):
    """What two sides don't agree on: `amount` is left minus right."""

    object: Literal["reconciliation_difference"] = "reconciliation_difference"
    leg: str
    reference: str
    type: str
    amount: objects.Minor
    currency: objects.Currency
    since: date
    age_days: int
    owner: str
    proposal: dict[str, Any]
    detail: str


class ApprovalOut(objects.PublicObject):
    """How many people have released a payment, and how many it needs."""

    object: Literal["disbursement_approval"] = "disbursement_approval"
    disbursement: str
    approvals: int
    needed: int


async def list_differences(call: Call) -> Answer:
    """Differences that stand, up to the limit; `has_more` says that there are others."""
    shown: list[DifferenceOut] = []
    async with transaction(call.services.pool, isolation="repeatable_read") as connection:
        async for one in Reconciler().differences(connection, today=call.services.now().date()):
            if call.query.owner in (None, one.owner):
                shown.append(_difference(one))
            if len(shown) > call.query.limit:
                break
    more = len(shown) > call.query.limit
    return Answer(
        body={
            "object": "list",
            "data": shown[: call.query.limit],
            "has_more": more,
            "next_cursor": None,
        }
    )


async def approve(call: Call) -> Answer:
    """One person's release; the same person again counts once."""
    disbursement_id = call.path_id("id", "dis")
    desk = PayoutDesk(call.services.clearing)
    try:
        async with transaction(call.services.pool) as connection:
            given, needed = await desk.approve(
                connection, disbursement_id, by=call.body.approver, now=call.services.now()
            )
    except StateConflictError as error:
        raise ProblemError(problems.NOT_FOUND, f"{error}.") from None
    return Answer(
        body=ApprovalOut(disbursement=format_id("dis", disbursement_id), approvals=given, needed=needed)
    )


def _difference(one: OpenDifference) -> DifferenceOut:
    return DifferenceOut(
        leg=one.leg,
        reference=one.reference,
        type=one.type,
        amount=one.amount_minor,
        currency=one.currency,
        since=one.since,
        age_days=one.age_days,
        owner=one.owner,
        proposal=msgspec.json.decode(one.proposal),
        detail=one.detail,
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/reconciliation/differences",
        operation="listReconciliationDifferences",
        summary="List what does not agree",
        description="Books, PSP and bank, compared every hour; each difference has an owner and a proposal.",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=list_differences,
        query=DifferencesQuery,
        answers={200: DifferenceOut},
        listed=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/disbursements/{id}/approvals",
        operation="approveDisbursement",
        summary="Release a large disbursement",
        description="A disbursement above the release limit is paid once two people have released it.",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=approve,
        body=ApprovalIn,
        answers={200: ApprovalOut},
        problems=(problems.NOT_FOUND,),
    ),
)
