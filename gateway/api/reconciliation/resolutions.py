"""Resolution of differences and suspense items, approval requests and approval limits.

Owns: the request and response schemas. Must not know: what is booked for which resolution. The person who
decides is the principal of the API key, never a name in the body.
"""

from datetime import date
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from clearing.approvals.request import ApprovalRequest
from clearing.approvals.rules import ApprovalState, Resolution
from clearing.reconciliation.comparison import difference_id
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel, page, whole
from gateway.api.field_types import MAX_AMOUNT_MINOR, NonNegativeMinor, Slug, before
from gateway.api.idempotency import KeyRule
from gateway.api.problems import ProblemError
from gateway.errors import MalformedIdError
from gateway.ids import format_id, parse_id
from gateway.schemas import api_schemas

DIFFERENCE: Final = "rdf"
APPROVAL_REQUEST: Final = "rdc"
_CREATED: Final = 201
_MOST: Final = 1000
_PLAIN: Final = r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$"
Reason = Annotated[
    str,
    Field(
        min_length=1,
        max_length=500,
        pattern=_PLAIN,
        description="The reason, for the record.",
        examples=["card statement of October, line 14"],
    ),
]


class ResolutionBody(WireModel):
    """How to resolve a difference."""

    resolution: Literal[
        "match", "suspense", "fee", "write_off", "own_funds", "psp_payout", "receivable_payment"
    ]
    reason: Reason
    party: Slug | None = Field(
        None, description="For `receivable_payment`: the party that paid its receivable."
    )
    related_references: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200, pattern=_PLAIN)]],
        Field(
            max_length=20,
            description="Further references of the same movement, such as those in `candidates`.",
        ),
    ] = Field(default_factory=list)


class ClearSuspenseBody(WireModel):
    """How to clear a suspense item."""

    resolution: Literal["fee", "write_off", "own_funds", "psp_payout", "receivable_payment"]
    reason: Reason
    party: Slug | None = Field(
        None, description="For `receivable_payment`: the party that paid its receivable."
    )
    amount: Annotated[int, Field(ge=-MAX_AMOUNT_MINOR, le=MAX_AMOUNT_MINOR)] | None = Field(
        None, description="Minor units with the item's sign; by default all that remains."
    )


class OffsetSuspenseBody(WireModel):
    """The suspense item to offset against."""

    against: Annotated[
        str, Field(max_length=64, description="Id of the suspense item with the opposite sign.")
    ]
    reason: Reason


class ApprovalDecisionBody(WireModel):
    """No fields: the person who approves or rejects is the principal of the API key."""


class ApprovalLimitBody(WireModel):
    """The amount above which a second person must approve."""

    limit: NonNegativeMinor


class ApprovalRequestsQuery(QueryModel):
    """A page of requests, the latest first: of one state, of one difference."""

    state: Literal["pending", "booked", "rejected"] | None = None
    difference: Annotated[str, Field(max_length=64)] | None = Field(None, description="id of a difference")
    limit: int = Field(100, ge=1, le=_MOST)
    cursor: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="`next_cursor` of the previous page"
    )


class SuspenseQuery(QueryModel):
    """A page of suspense items, the oldest first."""

    limit: int = Field(100, ge=1, le=_MOST)
    cursor: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="`next_cursor` of the previous page"
    )


class ApprovalRequestSchema(api_schemas.PublicSchema):
    """A proposed booking; `amount` is the change of our balance, or the reduction of a receivable."""

    id: str
    object: Literal["approval_request"] = "approval_request"
    resolution: str
    state: Literal["pending", "booked", "rejected"]
    subject: Literal["difference", "suspense", "receivable"]
    pair: str
    references: list[str]
    difference: str | None = Field(description="the difference that it resolves, by its first reference")
    party: str | None
    currency: api_schemas.Currency
    amount: api_schemas.Minor
    reason: str
    requires_approval: bool
    proposed_by: str
    proposed_at: api_schemas.Instant
    decided_by: str | None
    decided_at: api_schemas.Instant | None


class SuspenseItemSchema(api_schemas.PublicSchema):
    """Unallocated money: what remains of it, its owner and age. Positive: received."""

    id: str
    object: Literal["suspense_item"] = "suspense_item"
    currency: api_schemas.Currency
    amount: api_schemas.Minor
    remaining: api_schemas.Minor
    since: date
    age_days: int
    owner: str
    detail: str


class ApprovalLimitSchema(api_schemas.PublicSchema):
    """A currency's approval limit; `*` applies to every currency without one."""

    object: Literal["approval_limit"] = "approval_limit"
    currency: str
    limit: api_schemas.Minor


async def resolve(call: ApiRequest) -> ApiResponse:
    """Resolve a difference, or request the approval of a second principal."""
    body: ResolutionBody = call.body
    request = await call.services.resolutions.resolve(
        call.path_id("id", DIFFERENCE),
        resolution=Resolution(body.resolution),
        reason=body.reason,
        party_id=body.party,
        related_references=body.related_references,
        key=call.caller.key,
    )
    return ApiResponse(body=approval_request_object(request), status=_CREATED)


async def clear(call: ApiRequest) -> ApiResponse:
    """Clear a suspense item, or a part of it."""
    body: ClearSuspenseBody = call.body
    request = await call.services.resolutions.clear(
        call.path_id("id", APPROVAL_REQUEST),
        resolution=Resolution(body.resolution),
        reason=body.reason,
        party_id=body.party,
        amount_minor=body.amount,
        key=call.caller.key,
    )
    return ApiResponse(body=approval_request_object(request), status=_CREATED)


async def offset(call: ApiRequest) -> ApiResponse:
    """Offset two suspense items that are the two sides of one transfer."""
    body: OffsetSuspenseBody = call.body
    suspense_id = call.path_id("id", APPROVAL_REQUEST)
    try:
        other_id = parse_id(APPROVAL_REQUEST, body.against)
    except MalformedIdError as error:
        raise ProblemError(problems.NOT_FOUND, f"{error}.") from None
    request = await call.services.resolutions.offset(
        suspense_id, other_id, reason=body.reason, key=call.caller.key
    )
    return ApiResponse(body=approval_request_object(request), status=_CREATED)


async def approve(call: ApiRequest) -> ApiResponse:
    """Approve the request of another principal; it is booked."""
    request = await call.services.resolutions.approve(
        call.path_id("id", APPROVAL_REQUEST), key=call.caller.key
    )
    return ApiResponse(body=approval_request_object(request))


async def reject(call: ApiRequest) -> ApiResponse:
    """Reject a request; nothing is booked."""
    request = await call.services.resolutions.reject(
        call.path_id("id", APPROVAL_REQUEST), key=call.caller.key
    )
    return ApiResponse(body=approval_request_object(request))


async def list_approval_requests(call: ApiRequest) -> ApiResponse:
    """Approval requests, the latest first."""
    query: ApprovalRequestsQuery = call.query
    state = None if query.state is None else ApprovalState(query.state)
    found = await call.services.resolutions.list_requests(
        state=state,
        difference_id=None if query.difference is None else _difference_id(query.difference),
        before=before(query, APPROVAL_REQUEST),
        limit=query.limit + 1,
    )
    return ApiResponse(body=page([approval_request_object(one) for one in found], limit=query.limit))


def _difference_id(text: str) -> UUID:
    try:
        return parse_id(DIFFERENCE, text)
    except MalformedIdError as error:
        raise ProblemError(problems.NOT_FOUND, f"{error}.") from None


async def list_suspense(call: ApiRequest) -> ApiResponse:
    """Suspense items, the oldest first."""
    query: SuspenseQuery = call.query
    found = await call.services.resolutions.list_suspense(
        after=before(query, APPROVAL_REQUEST), limit=query.limit + 1
    )
    shown = [
        SuspenseItemSchema(
            id=format_id(APPROVAL_REQUEST, one.id),
            currency=one.currency,
            amount=one.amount_minor,
            remaining=one.remaining_minor,
            since=one.since,
            age_days=one.age_days,
            owner=one.owner,
            detail=one.detail,
        )
        for one in found
    ]
    return ApiResponse(body=page(shown, limit=query.limit))


async def list_limits(call: ApiRequest) -> ApiResponse:
    """The approval limits in force."""
    found = await call.services.resolutions.load_limits()
    return ApiResponse(
        body=whole(
            ApprovalLimitSchema(currency=currency, limit=minor) for currency, minor in sorted(found.items())
        )
    )


async def put_limit(call: ApiRequest) -> ApiResponse:
    """Set a currency's approval limit; with 0 every booking needs approval."""
    currency, body = call.path["currency"], call.body
    await call.services.resolutions.set_limit(currency, body.limit, key=call.caller.key)
    return ApiResponse(body=ApprovalLimitSchema(currency=currency, limit=body.limit))


def approval_request_object(request: ApprovalRequest) -> ApprovalRequestSchema:
    """The public approval request."""
    references = request.reference.split("\x1f")
    return ApprovalRequestSchema.model_validate(
        {
            "id": format_id(APPROVAL_REQUEST, request.id),
            "resolution": request.resolution.value,
            "state": request.state.value,
            "subject": request.subject,
            "pair": request.pair,
            "references": references,
            "difference": _difference_of(request, references[0]),
            "party": request.party_id,
            "currency": request.currency,
            "amount": request.amount_minor,
            "reason": request.reason,
            "requires_approval": request.requires_approval,
            "proposed_by": request.proposed_by,
            "proposed_at": request.proposed_at,
            "decided_by": request.decided_by,
            "decided_at": request.decided_at,
        }
    )


def _difference_of(request: ApprovalRequest, reference: str) -> str | None:
    if request.subject != "difference":
        return None
    return format_id(
        DIFFERENCE, difference_id(pair=request.pair, reference=reference, currency=request.currency)
    )


_REJECTIONS: Final = (problems.NOT_FOUND, problems.STATE_CONFLICT)
ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/reconciliation/differences/{id}/resolve",
        operation="resolveReconciliationDifference",
        summary="Resolve a difference",
        description=(
            "Up to the currency's approval limit the difference is booked at once; above it, another "
            "principal must approve. The same request again has no effect."
        ),
        tag="Settlement",
        handler=resolve,
        body=ResolutionBody,
        answers={201: ApprovalRequestSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=_REJECTIONS,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/approval-requests",
        operation="listApprovalRequests",
        summary="List approval requests",
        tag="Settlement",
        handler=list_approval_requests,
        query=ApprovalRequestsQuery,
        answers={200: ApprovalRequestSchema},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/approval-requests/{id}/approve",
        operation="approveRequest",
        summary="Approve a request",
        description=(
            "Books the request as proposed, if its object has not changed. Requires an API key of another "
            "principal than the proposer."
        ),
        tag="Settlement",
        handler=approve,
        body=ApprovalDecisionBody,
        body_required=False,
        answers={200: ApprovalRequestSchema},
        problems=_REJECTIONS,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/approval-requests/{id}/reject",
        operation="rejectRequest",
        summary="Reject a request",
        tag="Settlement",
        handler=reject,
        body=ApprovalDecisionBody,
        body_required=False,
        answers={200: ApprovalRequestSchema},
        problems=_REJECTIONS,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/reconciliation/suspense",
        operation="listSuspense",
        summary="List suspense items",
        tag="Settlement",
        handler=list_suspense,
        query=SuspenseQuery,
        answers={200: SuspenseItemSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/reconciliation/suspense/{id}/clear",
        operation="clearSuspense",
        summary="Clear a suspense item",
        tag="Settlement",
        handler=clear,
        body=ClearSuspenseBody,
        answers={201: ApprovalRequestSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=_REJECTIONS,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/reconciliation/suspense/{id}/offset",
        operation="offsetSuspense",
        summary="Offset suspense items",
        description="Offsets two suspense items, the two sides of one transfer. Nothing is booked.",
        tag="Settlement",
        handler=offset,
        body=OffsetSuspenseBody,
        answers={201: ApprovalRequestSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=_REJECTIONS,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/approval-limits",
        operation="listApprovalLimits",
        summary="List approval limits",
        tag="Settlement",
        handler=list_limits,
        answers={200: ApprovalLimitSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="PUT",
        path="/v1/approval-limits/{currency}",
        operation="setApprovalLimit",
        summary="Set an approval limit",
        tag="Settlement",
        handler=put_limit,
        body=ApprovalLimitBody,
        answers={200: ApprovalLimitSchema},
    ),
)
