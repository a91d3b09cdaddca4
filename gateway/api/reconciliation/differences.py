"""Open reconciliation differences, and books, PSP and bank side by side.

Owns: the response schemas, and which side of a pair is the books', the PSP's or the bank's. Must not know:
how anything is compared. Only the platform may read them.
"""

from dataclasses import asdict
from datetime import date
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field

from clearing.reconciliation.comparison import ReconciliationPair
from clearing.reconciliation.report import DifferenceFilter, OpenDifference
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, page
from gateway.api.field_types import before
from gateway.api.reconciliation.resolutions import DIFFERENCE
from gateway.ids import format_id
from gateway.schemas import api_schemas

_MOST: Final = 1000
_SIDES: Final = MappingProxyType(
    {
        "book_psp": ("books", "psp"),
        "book_bank": ("books", "bank"),
        "psp_bank": ("psp", "bank"),
        "bank_balance": (None, None),
    }
)


class DifferencesQuery(QueryModel):
    """A page of differences, by owner, pair and age."""

    limit: int = Field(100, ge=1, le=_MOST)
    cursor: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="`next_cursor` of the previous page"
    )
    owner: Annotated[str, Field(max_length=40)] | None = None
    pair: ReconciliationPair | None = Field(None, description="only differences between these two records")
    min_age_days: int = Field(0, ge=0, le=36_500, description="at least as many days since it arose")


class DifferenceSchema(api_schemas.PublicSchema):
    """A difference of two sides: `amount` is left minus right; `candidates` are items that a line may pay."""

    id: str
    object: Literal["reconciliation_difference"] = "reconciliation_difference"
    pair: str
    reference: str
    type: str
    books: api_schemas.Minor | None = Field(description="what our books have open; null: nothing, or no side")
    psp: api_schemas.Minor | None = Field(description="likewise the PSP")
    bank: api_schemas.Minor | None = Field(description="likewise the bank")
    amount: api_schemas.Minor
    currency: api_schemas.Currency
    since: date
    age_days: int
    owner: str
    proposal: dict[str, Any]
    detail: str
    candidates: list[str]
    resolved: api_schemas.Instant | None = Field(description="when it was resolved; null while it is open")


class OpenSumSchema(api_schemas.PublicSchema):
    """What one side has open against another, in one currency."""

    pair: str
    side: Literal["books", "psp", "bank"]
    currency: api_schemas.Currency
    items: int
    amount: api_schemas.Minor
    oldest: date


class BankPositionSchema(api_schemas.PublicSchema):
    """The bank's balance beside ours: `unexplained` is the excess of our books that nothing explains."""

    currency: api_schemas.Currency
    as_of: date
    books: api_schemas.Minor
    bank: api_schemas.Minor
    only_books: api_schemas.Minor
    only_bank: api_schemas.Minor
    unexplained: api_schemas.Minor


class DifferenceAgeSchema(api_schemas.PublicSchema):
    """How many differences one owner has open, by days since they arose."""

    owner: str
    differences: int
    up_to_7: int
    up_to_30: int
    up_to_90: int
    over_90: int
    oldest: date


class ReconciliationSchema(api_schemas.PublicSchema):
    """Books, PSP and bank side by side."""

    object: Literal["reconciliation"] = "reconciliation"
    sides: list[OpenSumSchema]
    bank: list[BankPositionSchema]
    ages: list[DifferenceAgeSchema]


async def list_differences(call: ApiRequest) -> ApiResponse:
    """Open differences, by pair and reference."""
    query: DifferencesQuery = call.query
    found = await call.services.financial_reports.list_differences(
        DifferenceFilter(owner=query.owner, pair=query.pair, min_age_days=query.min_age_days),
        after=before(query, DIFFERENCE),
        limit=query.limit + 1,
    )
    return ApiResponse(body=page([_difference(one) for one in found], limit=query.limit))


async def get_difference(call: ApiRequest) -> ApiResponse:
    """One difference, open or resolved."""
    found = await call.services.financial_reports.get_difference(call.path_id("id", DIFFERENCE))
    return ApiResponse(body=_difference(found))


async def get_position(call: ApiRequest) -> ApiResponse:
    """What each side has open, the bank's balance beside ours, and differences by owner and age."""
    found = await call.services.financial_reports.read_position()
    return ApiResponse(
        body=ReconciliationSchema(
            sides=[
                OpenSumSchema.model_validate(
                    {
                        "pair": one.pair,
                        "side": _SIDES[one.pair][one.side == "right"],
                        "currency": one.currency,
                        "items": one.items,
                        "amount": one.amount_minor,
                        "oldest": one.oldest,
                    }
                )
                for one in found.sums
            ],
            bank=[
                BankPositionSchema(
                    currency=one.currency,
                    as_of=one.as_of,
                    books=one.books_minor,
                    bank=one.bank_minor,
                    only_books=one.ours_in_flight_minor,
                    only_bank=one.theirs_in_flight_minor,
                    unexplained=one.unexplained_minor,
                )
                for one in found.bank
            ],
            ages=[DifferenceAgeSchema.model_validate(asdict(one)) for one in found.ages],
        )
    )


def _difference(one: OpenDifference) -> DifferenceSchema:
    sides: dict[str | None, int | None] = dict(
        zip(_SIDES.get(one.pair, (None, None)), (one.left_minor, one.right_minor), strict=True)
    )
    return DifferenceSchema(
        id=format_id(DIFFERENCE, one.id),
        pair=one.pair,
        reference=one.reference,
        type=one.type,
        books=sides.get("books"),
        psp=sides.get("psp"),
        bank=sides.get("bank"),
        amount=one.amount_minor,
        currency=one.currency,
        since=one.since,
        age_days=one.age_days,
        owner=one.owner,
        proposal=msgspec.json.decode(one.proposal),
        detail=one.detail,
        candidates=list(one.candidates),
        resolved=one.resolved_at,
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
    ApiEndpoint(
        method="GET",
        path="/v1/reconciliation/differences/{id}",
        operation="getReconciliationDifference",
        summary="Get a reconciliation difference",
        tag="Settlement",
        handler=get_difference,
        answers={200: DifferenceSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/reconciliation",
        operation="getReconciliation",
        summary="Get books, PSP and bank side by side",
        description="What each side has open against another, the bank's balance beside ours, and how many "
        "differences each owner has open, by age.",
        tag="Settlement",
        handler=get_position,
        answers={200: ReconciliationSchema},
    ),
)
