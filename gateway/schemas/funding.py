"""Public objects of money that is brought in: funded accounts and top-ups, in answers and in events.

Owns: their fields and descriptions. Must not know: where a value comes from.
"""

from typing import Literal

from pydantic import Field

from gateway.schemas.api_schemas import Currency, Instant, Minor, PublicSchema


class PartnerAccountSchema(PublicSchema):
    """A funded account; `available` = balance - held + credit_limit. Minor units."""

    object: Literal["partner_account"] = "partner_account"
    party: str
    currency: Currency
    balance: Minor
    held: Minor
    credit_limit: Minor
    available: Minor
    pending: Minor = Field(description="fundings on their way to the PSP; part of the balance once arrived")


class TopupSchema(PublicSchema):
    """Money on its way to the platform's balance at the PSP. It is booked when it has arrived there."""

    id: str = Field(examples=["top_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["topup"] = "topup"
    state: Literal["requested", "pending", "arrived", "failed", "cancelled", "reversed"] = Field(
        description="requested until the PSP has it, then pending for days; reversed: the bank took it back"
    )
    party: str | None = Field(description="whose funded account it is for; null: the platform's own money")
    currency: Currency
    amount: Minor
    reference: str
    failure_code: str | None = Field(description="why it failed, or ended otherwise; null while it has not")
    overdrawn: Minor = Field(description="what its party had spent when the bank took it back")
    updated: Instant = Field(description="when its state changed last")
