"""The limits by which a CPO's CDRs are checked: a CPO's own, or the platform's for all without one.

Owns: the paths and the wire form. Must not know what a limit is used for.
"""

import re
from decimal import Decimal
from typing import Final, Literal

from pydantic import Field

from clearing.cdr_checks.limits import LimitName
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import InstantIn
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import own_party
from gateway.api.problems import FieldError, ProblemError
from gateway.payments.cdr_limits import PartyLimits
from gateway.schemas import api_schemas

_IS_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")


class CdrLimitsBody(WireModel):
    """Limits to set; the unit of each is in its name. Others keep their value."""

    limits: dict[LimitName, str] = Field(
        min_length=1, description="decimal numbers as text, by name", examples=[{"cdr_age_days": "60"}]
    )
    valid_from: InstantIn | None = Field(
        None, description="for sessions authorized from then on; now if it is not given"
    )


class CdrLimitSchema(api_schemas.PublicSchema):
    """A limit that was set for a party."""

    name: LimitName
    value: str = Field(description="a decimal number; the unit is in the name")
    valid_from: api_schemas.Instant
    set_by: str = Field(description="the API key's principal, or a person at the command line")


class CdrLimitsSchema(api_schemas.PublicSchema):
    """The limits in force now, and what was set for the party itself."""

    object: Literal["cdr_limits"] = "cdr_limits"
    party: str
    limits: dict[LimitName, str] = Field(
        description="in force now: its own, else the platform's, else defaults"
    )
    own: list[CdrLimitSchema] = Field(description="what was set for this party, by name and date")


async def put(call: ApiRequest) -> ApiResponse:
    """Set limits for sessions authorized from a time on."""
    body: CdrLimitsBody = call.body
    found = await call.services.cdr_limits.set(
        call.path["id"], _values(body.limits), valid_from=body.valid_from, key=call.caller.key
    )
    return ApiResponse(body=_shown(call.path["id"], found))


async def get(call: ApiRequest) -> ApiResponse:
    """The limits of the caller's party; the platform reads those of any."""
    party_id = own_party(call)
    return ApiResponse(body=_shown(party_id, await call.services.cdr_limits.get(party_id)))


def _values(given: dict[LimitName, str]) -> dict[LimitName, Decimal]:
    """The values, each a plain decimal number. Raises ProblemError."""
    for name, value in given.items():
        if not _IS_NUMBER.fullmatch(value):
            raise ProblemError(
                problems.INVALID_PARAMETERS,
                f"/limits/{name.value}: expected a decimal number as text.",
                errors=[FieldError(pointer=f"/limits/{name.value}", expected="a decimal number as text")],
            )
    return {name: Decimal(value) for name, value in given.items()}


def _shown(party_id: str, found: PartyLimits) -> CdrLimitsSchema:
    return CdrLimitsSchema(
        party=party_id,
        limits={name: _text(found.values[name]) for name in LimitName},
        own=[
            CdrLimitSchema(
                name=one.name, value=_text(one.value), valid_from=one.valid_from, set_by=one.set_by
            )
            for one in found.own
        ],
    )


def _text(value: Decimal) -> str:
    return format(value, "f")


ENDPOINTS: Final = (
    ApiEndpoint(
        method="PUT",
        path="/v1/parties/{id}/cdr-limits",
        operation="setCdrLimits",
        summary="Set limits of the CDR checks",
        description="For a CPO, or with the platform's id for every CPO that has none of its own. A limit "
        "counts for sessions authorized from `valid_from` on; a value that is in force is never changed.",
        tag="Parties",
        handler=put,
        body=CdrLimitsBody,
        answers={200: CdrLimitsSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/cdr-limits",
        operation="getCdrLimits",
        summary="Get limits of the CDR checks",
        tag="Parties",
        handler=get,
        answers={200: CdrLimitsSchema},
        problems=(problems.NOT_FOUND,),
    ),
)
