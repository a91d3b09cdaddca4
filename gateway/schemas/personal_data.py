"""The public objects of personal data: what is known of a person, an erasure, an export.

Owns: their shape. Must not know whose they are.
"""

from datetime import date
from typing import Any, Literal

from pydantic import Field

from gateway.schemas.api_schemas import Instant, PublicSchema


class KeptRowsSchema(PublicSchema):
    """What stays, why, and until which day."""

    rule: str = Field(description="a rule of the table of personal data", examples=["billing_record"])
    rows: int = Field(description="how many rows stay")
    why: str = Field(description="by which law, or until what has ended")
    until: date | None = Field(description="the last day; null: until it has ended by itself")


class ObstacleSchema(PublicSchema):
    """What is under way and ends before the person can be erased."""

    subject: str = Field(examples=["session ses_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    reason: str = Field(description="why it prevents erasure")


class PersonReportSchema(PublicSchema):
    """What is known of a person, what prevents erasure, what stays, who else has it."""

    object: Literal["person_report"] = "person_report"
    outcome: Literal["found", "nothing", "refused", "erased"] = Field(
        description="found: nothing was changed; nothing: there is nothing to erase; refused: something is"
        " under way and nothing was erased; erased"
    )
    pseudonym: str | None = Field(description="what stands in the place of the person, once erased")
    rows: dict[str, int] = Field(description="rows by rule: found, or erased")
    obstacles: list[ObstacleSchema] = Field(description="what is under way and ends first")
    kept: list[KeptRowsSchema] = Field(description="what stays, and until when")
    elsewhere: list[str] = Field(description="who else has data of the person")
    at: Instant = Field(description="when it was found out, business time")


class PersonExportSchema(PublicSchema):
    """Every row of a person, by table."""

    object: Literal["person_export"] = "person_export"
    tables: dict[str, list[dict[str, Any]]] = Field(description="rows by `schema.table`")


class ErasureSchema(PublicSchema):
    """An erasure that was carried out; it names nobody."""

    id: str = Field(examples=["era_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["erasure"] = "erasure"
    pseudonym: str = Field(description="what stands in the place of the person")
    erased_at: Instant = Field(description="business time")
    erased_by: str = Field(description="the API key's principal, or a person at the command line")
    reason: str = Field(description="as it was given")
    rows: dict[str, int] = Field(description="rows that were erased, by rule")
    kept: list[KeptRowsSchema] = Field(description="what stayed, and until when")
