"""Checks of a party's identity as the API and its events show them.

Owns: the shape. Must not know: what a check is needed for.
"""

from datetime import date
from typing import Literal

from pydantic import Field

from clearing.parties.party_checks import PartyCheckKind, PartyCheckResult
from gateway.schemas.api_schemas import Instant, PublicSchema


class PartyCheckSchema(PublicSchema):
    """One check of a party's identity. It is never changed: a later one of its kind takes its place."""

    id: str = Field(examples=["pck_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["party_check"] = "party_check"
    party: str = Field(description="the party that was checked")
    kind: PartyCheckKind = Field(description="what was checked")
    result: PartyCheckResult = Field(description="what came out")
    performed_by: str = Field(description="the person or service that did it")
    checked_on: date = Field(description="the day of the check")
    valid_until: date | None = Field(description="the day on which it lapses; null: it does not")
    reference: str = Field(description="extract, file or screening run")
    note: str = Field(description="why the result is enough, or what was found")
    bank_details_version: int | None = Field(description="the bank details whose name was compared")
    confirms: str | None = Field(
        description="the check that did not match and that a second person confirms with this one"
    )
    recorded_by: str = Field(description="the API key's principal")
    recorded: Instant = Field(description="when it was recorded")
