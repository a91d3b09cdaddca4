"""Open reconciliation differences.

Owns: the response schemas. Must not know: how anything is compared. Only the platform may read them.
"""

from datetime import date
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field

from clearing.reconciliation.report import OpenDifference
from gateway import api_schemas
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, whole
from gateway.api.reconciliation.resolutions import DIFFERENCE
from gateway.ids import format_id

_MOST: Final = 1000


class DifferencesQuery(QueryModel):
    """The number of differences to list, and their owner."""

    limit: int = Field(100, ge=1, le=_MOST)
    owner: Annotated[str, Field(max_length=40)] | None = None


class DifferenceSchema(api_schemas.PublicSchema):
    """A difference of two sides: `amount` is left minus right; `candidates` are items that a line may pay."""

    id: str
    object: Literal["reconciliation_difference"] = "reconciliation_difference"
    pair: str
    reference: str
    type: str
    amount: api_schemas.Minor
    currency: api_schemas.Currency
    since: date
    age_days: int
    owner: str
    proposal: dict[str, Any]
    detail: str
    candidates: list[str]


async def list_differences(call: ApiRequest) -> ApiResponse:
    """Open differences, up to the limit; `has_more` says that there are others."""
    limit: int = call.query.limit
    found = await call.services.financial_reports.list_differences(owner=call.query.owner, limit=limit + 1)
    shown = (_difference(one) for one in found[:limit])
    return ApiResponse(body=whole(shown, more=len(found) > limit))


def _difference(one: OpenDifference) -> DifferenceSchema:
    return DifferenceSchema(
        id=format_id(DIFFERENCE, one.id),
        pair=one.pair,
        reference=one.reference,
        type=one.type,
        amount=one.amount_minor,
        currency=one.currency,
        since=one.since,
        age_days=one.age_days,
        owner=one.owner,
        proposal=msgspec.json.decode(one.proposal),
        detail=one.detail,
        candidates=list(one.candidates),
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/reconciliation/differences",
        operation="listReconciliationDifferences",
        summary="List reconciliation differences",
        description=(
            "The gateway compares books, PSP and bank every hour. Each difference has an owner and a "
            "proposal."
        ),
        tag="Settlement",
        handler=list_differences,
        query=DifferencesQuery,
        answers={200: DifferenceSchema},
        listed=True,
    ),
)
