"""Public objects of accounts at the PSP, in answers and in events.

Owns: their fields and descriptions. Must not know: where a value comes from.
"""

from typing import Literal

from pydantic import Field

from gateway.schemas.api_schemas import Instant, PublicSchema


class ConnectedAccountSchema(PublicSchema):
    """Where a party is paid over the PSP, and whether the PSP can pay it now."""

    id: str = Field(description="the PSP's id", examples=["acct_123"])
    object: Literal["connected_account"] = "connected_account"
    party: str
    payable: bool = Field(description="whether the PSP accepts transfers to it; if not, payouts are on hold")
    transfers: Literal["active", "pending", "inactive", "unrequested", "unknown"] = Field(
        description="the PSP's capability to send it money; unknown: the PSP knows no such account of ours"
    )
    payouts_enabled: bool = Field(description="whether the PSP pays its balance out to its bank account")
    details_submitted: bool = Field(description="whether the party has completed the PSP's form")
    country: str | None = Field(description="ISO 3166-1")
    currency: str | None = Field(description="the account's default currency at the PSP")
    disabled_reason: str | None = Field(description="the PSP's code of why the account is restricted")
    requirements: list[str] = Field(
        description="what the PSP wants to know, by its names, overdue first; an onboarding link asks for it"
    )
    requirements_due: Instant | None = Field(description="when the account is restricted without it")
    version: int = Field(ge=1)
    created: Instant
    updated: Instant = Field(description="when the PSP last said something new of it")
