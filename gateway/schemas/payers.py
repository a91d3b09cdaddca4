"""Public objects of payers: customers, setups and saved payment methods, in answers and in events.

Owns: their fields and descriptions. Must not know: where a value comes from.
"""

from typing import Literal

from pydantic import Field

from gateway.schemas.api_schemas import Instant, PublicSchema


class CustomerSchema(PublicSchema):
    """A driver whose payment methods may be saved. No personal data is stored."""

    id: str = Field(description="the PSP's id; authorize with it", examples=["cus_123"])
    object: Literal["customer"] = "customer"
    reference: str | None = Field(description="your own name of the driver")
    metadata: dict[str, str]
    created: Instant


class SetupSchema(PublicSchema):
    """The setup of a payment method: the driver's app confirms it at the PSP, which keeps the card."""

    id: str = Field(examples=["setup_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["setup"] = "setup"
    customer: str
    state: Literal["requires_payment_method", "requires_action", "processing", "succeeded", "cancelled"]
    usage: Literal["off_session", "on_session"]
    return_url: str = Field(description="where the driver returns to after a challenge")
    payment_method: str | None = Field(description="authorize with it; null until state is succeeded")
    mandate: str | None = Field(description="the driver's consent to charges while away")
    error: str | None = Field(description="why the driver's last try failed; the driver may try again")
    client_secret: str | None = Field(
        description="pass this to the driver's app; a secret: whoever holds it may finish the setup, so "
        "never log or store it; null once the setup has ended, and in events"
    )
    redirect_url: str | None = Field(description="where the driver confirms the setup, if state requires it")
    publishable_key: str | None = Field(description="for the PSP's script in the driver's app; no secret")
    version: int = Field(ge=1)
    metadata: dict[str, str]
    created: Instant


class PaymentMethodSchema(PublicSchema):
    """A saved payment method: what a driver recognizes it by."""

    id: str = Field(description="the PSP's token; authorize with it", examples=["pm_123"])
    object: Literal["payment_method"] = "payment_method"
    customer: str
    type: Literal["card"] = "card"
    brand: str = Field(description="the card's scheme", examples=["visa"])
    last4: str = Field(description="the card's last four digits", examples=["4242"])
    exp_month: int = Field(description="month in which the card expires, 1 to 12")
    exp_year: int = Field(description="year in which the card expires")
    wallet: str | None = Field(description="the wallet that holds the card, such as apple_pay")
    mandate: str | None = Field(
        description="the driver's consent to charges while away; null: none was given"
    )
    setup: str | None = Field(description="id of the setup that saved it; null: an authorization did")
    authorization: str | None = Field(description="id of the authorization that saved it; null: a setup did")
    consent: str | None = Field(description="your record of the consent, where an authorization saved it")
    created: Instant
