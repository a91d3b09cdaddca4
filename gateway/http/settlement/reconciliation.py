"""Reconciliation over HTTP: the differences that stand.

Owns: the wire form. Must not know how anything is compared. Only the platform sees any of it.
"""

from datetime import date
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field

from clearing.desks.reconciler import Reconciler
from clearing.reconciliation.report import OpenDifference
from gateway import objects
from gateway.database import transaction
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, QueryModel
from gateway.http.settlement.resolutions import DIFFERENCE
from gateway.ids import format_id

_MOST: Final = 1000


class DifferencesQuery(QueryModel):
    """How many to show, and of whom."""

    limit: int = Field(100, ge=1, le=_MOST)
    owner: Annotated[str, Field(max_length=40)] | None = None


class DifferenceOut(objects.PublicObject):
    """What two sides don't agree on: `amount` is left minus right; `likely` what a line may be."""

    id: str
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
    likely: list[str]


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


def _difference(one: OpenDifference) -> DifferenceOut:
    return DifferenceOut(
        id=format_id(DIFFERENCE, one.id),
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
        likely=list(one.likely),
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
)
