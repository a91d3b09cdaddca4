"""Receivables of parties: by age, set-off, consents to set-off, write-off.

Owns: the request and response schemas. Must not know: how a receivable is aged or booked. Only the
platform may read them.
"""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel, whole
from gateway.api.field_types import CurrencyCode, DayIn, Line, Slug
from gateway.api.idempotency import KeyRule
from gateway.api.problems import ProblemError
from gateway.api.reconciliation.resolutions import ApprovalRequestSchema, Reason, approval_request_object
from gateway.schemas import api_schemas

_CREATED: Final = 201
_NO_CONTENT: Final = 204


class ReceivablesQuery(QueryModel):
    """The party whose receivables to list."""

    party: Slug | None = None


class SetOffBody(WireModel):
    """The currency of the receivable, and that of the payables that pay it."""

    currency: CurrencyCode = Field(description="Currency of the receivable.")
    from_currency: CurrencyCode = Field(description="Currency of the payables.")
    reason: Reason


class WriteOffBody(WireModel):
    """The receivable to write off."""

    currency: CurrencyCode
    reason: Reason


class SetOffConsentBody(WireModel):
    """A party's consent to set off its receivables against its payables."""

    agreed_on: DayIn
    evidence: Line = Field(description="Where the consent is stored.", examples=["contract 7, annex B"])


class SetOffConsentSchema(api_schemas.PublicSchema):
    """A party's consent to set-off, in force from `agreed_on`."""

    object: Literal["set_off_consent"] = "set_off_consent"
    party: str
    agreed_on: date
    evidence: str


class ReceivableSchema(api_schemas.PublicSchema):
    """A party's receivable in one currency; `buckets` are minor units by age in days."""

    object: Literal["receivable"] = "receivable"
    party: str
    currency: api_schemas.Currency
    amount: api_schemas.Minor
    since: date
    age_days: int
    buckets: Annotated[dict[str, int], Field(examples=[{"0-30": 400, "31-60": 0, "61-90": 0, "over-90": 0}])]


async def list_receivables(call: ApiRequest) -> ApiResponse:
    """Every receivable, the oldest first."""
    found = await call.services.receivables.list(party_id=call.query.party)
    shown = [
        ReceivableSchema(
            party=one.party_id,
            currency=one.currency,
            amount=one.receivable_minor,
            since=one.since,
            age_days=one.age_days,
            buckets=dict(one.buckets),
        )
        for one in found
    ]
    return ApiResponse(body=whole(shown))


async def set_off(call: ApiRequest) -> ApiResponse:
    """Pay a receivable from the party's payables in another currency, at the day's locked rate."""
    body: SetOffBody = call.body
    request = await call.services.receivables.set_off(
        call.path["party"],
        currency=body.currency,
        from_currency=body.from_currency,
        reason=body.reason,
        key=call.caller.key,
    )
    return ApiResponse(body=approval_request_object(request), status=_CREATED)


async def write_off(call: ApiRequest) -> ApiResponse:
    """Propose to write off a receivable; another principal approves it."""
    body: WriteOffBody = call.body
    request = await call.services.receivables.write_off(
        call.path["party"], currency=body.currency, reason=body.reason, key=call.caller.key
    )
    return ApiResponse(body=approval_request_object(request), status=_CREATED)


async def record_consent(call: ApiRequest) -> ApiResponse:
    """Record a party's consent to set-off."""
    body: SetOffConsentBody = call.body
    await call.services.receivables.record_consent(
        call.path["party"], agreed_on=body.agreed_on, evidence=body.evidence, key=call.caller.key
    )
    shown = SetOffConsentSchema(party=call.path["party"], agreed_on=body.agreed_on, evidence=body.evidence)
    return ApiResponse(body=shown, status=_CREATED)


async def end_consent(call: ApiRequest) -> ApiResponse:
    """End a party's consent to set-off today."""
    await call.services.receivables.end_consent(call.path["party"], agreed_on=_day(call.path["id"]))
    return ApiResponse(body=None, status=_NO_CONTENT)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ProblemError(problems.NOT_FOUND, "The party has no such set-off consent.") from None


_REJECTIONS: Final = (problems.NOT_FOUND, problems.STATE_CONFLICT)
ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/receivables",
        operation="listReceivables",
        summary="List receivables by age",
        tag="Settlement",
        handler=list_receivables,
        query=ReceivablesQuery,
        answers={200: ReceivableSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/receivables/{party}/set-off",
        operation="setOffReceivable",
        summary="Set off a receivable",
        description=(
            "Pays a receivable from payables in another currency, up to the smaller of the two. Requires the "
            "party's consent."
        ),
        tag="Settlement",
        handler=set_off,
        body=SetOffBody,
        answers={201: ApprovalRequestSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=_REJECTIONS,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/receivables/{party}/write-off",
        operation="writeOffReceivable",
        summary="Write off a receivable",
        description="Requests the write-off of a receivable of a deregistered party, or older than 90 "
        "days. Another principal must approve it.",
        tag="Settlement",
        handler=write_off,
        body=WriteOffBody,
        answers={201: ApprovalRequestSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=_REJECTIONS,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/receivables/{party}/set-off-consents",
        operation="recordSetOffConsent",
        summary="Record a set-off consent",
        tag="Settlement",
        handler=record_consent,
        body=SetOffConsentBody,
        answers={201: SetOffConsentSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=_REJECTIONS,
    ),
    ApiEndpoint(
        method="DELETE",
        path="/v1/receivables/{party}/set-off-consents/{id}",
        operation="endSetOffConsent",
        summary="End a set-off consent",
        description=(
            "Ends the consent of the day `id` (its `agreed_on`), and any earlier one, today. After that, "
            "nothing is set off under it."
        ),
        tag="Settlement",
        handler=end_consent,
        answers={204: None},
        problems=_REJECTIONS,
    ),
)
