"""Checks of a party's identity: recorded by an administrator, confirmed by another, listed for the party.

Owns: the request schemas. Must not know: which checks a party needs, how it is held.
"""

from typing import Annotated, Final

from pydantic import Field

from clearing.errors import InvalidPartyCheckError
from clearing.parties.party_check_service import CHECK
from clearing.parties.party_checks import NewPartyCheck, PartyCheckKind, PartyCheckResult
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, whole
from gateway.api.field_types import DayIn
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import own_party
from gateway.api.problems import FieldError, ProblemError
from gateway.payouts.party_check_service import check_object
from gateway.schemas.party_checks import PartyCheckSchema

_CREATED: Final = 201
_Text = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
_NeededText = Annotated[
    str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$")
]


class PartyCheckBody(WireModel):
    """What was checked, by whom, when, and what came out."""

    kind: PartyCheckKind = Field(description="what was checked", examples=["commercial_register"])
    result: PartyCheckResult = Field(
        description="`match`, `close_match`, `no_match`, `not_possible` of a `payee_name`; else `passed` or "
        "`failed`",
        examples=["passed"],
    )
    performed_by: _NeededText = Field(
        description="the person or service that did it", examples=["A. Jansen, compliance"]
    )
    checked_on: DayIn = Field(description="the day of the check, in the party's time zone")
    valid_until: DayIn | None = Field(
        None,
        description="the day on which it lapses; by default as the kind of check prescribes, never later",
    )
    reference: _Text = Field("", description="extract, file or screening run", examples=["KvK 12345678"])
    note: _Text = Field("", description="needed for `close_match` and `not_possible`: why it is enough")
    bank_details_version: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="of a `payee_name`: the bank details whose name was compared"
    )


class ConfirmPartyCheckBody(WireModel):
    """Why an account is paid to whose holder's name did not match."""

    note: _NeededText = Field(
        description="the reason", examples=["account of the parent company, group chart of 2026-03-01"]
    )


async def create(call: ApiRequest) -> ApiResponse:
    """Record a check; a hold that it ends is lifted, and an adverse result places one."""
    body: PartyCheckBody = call.body
    new = NewPartyCheck(
        kind=body.kind,
        result=body.result,
        performed_by=body.performed_by,
        checked_on=body.checked_on,
        valid_until=body.valid_until,
        reference=body.reference,
        note=body.note,
        details_version=body.bank_details_version,
    )
    try:
        check = await call.services.party_checks.record(
            own_party(call), new, check_id=call.resource_id, key=call.caller.key
        )
    except InvalidPartyCheckError as error:
        raise _wrong(error) from None
    return ApiResponse(body=check_object(check), status=_CREATED)


async def list_all(call: ApiRequest) -> ApiResponse:
    """Every check, the latest first."""
    found = await call.services.party_checks.list(own_party(call))
    shown = [check_object(one) for one in found]
    return ApiResponse(body=whole(shown))


async def confirm(call: ApiRequest) -> ApiResponse:
    """Confirm a payee name that did not match; the account may be paid to."""
    body: ConfirmPartyCheckBody = call.body
    check_id = call.path_id("check_id", CHECK)
    try:
        check = await call.services.party_checks.confirm(
            own_party(call), check_id, note=body.note, key=call.caller.key
        )
    except InvalidPartyCheckError as error:
        raise _wrong(error) from None
    return ApiResponse(body=check_object(check), status=_CREATED)


def _wrong(error: InvalidPartyCheckError) -> ProblemError:
    return ProblemError(
        problems.INVALID_PARAMETERS,
        f"{error}.",
        errors=[FieldError(pointer=f"/{error.field}", expected=error.detail)],
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/checks",
        operation="recordPartyCheck",
        summary="Record a check of a party's identity",
        description="A later check of a kind takes the place of an earlier one; the history stays. An "
        "adverse result holds the party's payouts until another principal records or confirms otherwise.",
        tag="Payouts",
        handler=create,
        body=PartyCheckBody,
        answers={201: PartyCheckSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/checks",
        operation="listPartyChecks",
        summary="List the checks of a party's identity",
        tag="Payouts",
        handler=list_all,
        answers={200: PartyCheckSchema},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/checks/{check_id}/confirm",
        operation="confirmPartyCheck",
        summary="Confirm a payee name that did not match",
        description="Requires an API key of another principal than the one who recorded the check.",
        tag="Payouts",
        handler=confirm,
        body=ConfirmPartyCheckBody,
        answers={201: PartyCheckSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
