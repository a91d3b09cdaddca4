"""The public objects of Plug & Charge that webhooks carry too: contracts, and how a session was settled.

Owns their names and types, by the rules of `gateway.schemas.api_schemas`. Must not know SQL, HTTP, or who
may see an object.
"""

from typing import Literal

from pydantic import Field

from gateway.schemas.api_schemas import Currency, Instant, Minor, PublicSchema


class ContractSchema(PublicSchema):
    """A contract without its means of payment."""

    object: Literal["contract"] = "contract"
    emaid: str
    environment: str
    party: str
    payment_type: str
    payment_usable: bool
    state: str
    limit: Minor | None
    sessions_at_once: int | None = Field(description="how many sessions may run at once; null: any number")
    sessions_per_day: int | None = Field(description="how many may begin in 24 hours; null: any number")
    offline_limit: Minor | None = Field(
        None, description="the most that is paid for a session that began offline; null: as for every session"
    )
    amount_per_day: Minor | None = Field(
        description="what its sessions may cost within a day of its party's time zone; null: no limit"
    )
    on_suspicion: str = Field(description="report or block: what ten stations at once lead to")
    currency: Currency | None
    valid_from: Instant
    valid_to: Instant | None
    revision: int
    warning: str | None = None


class SettlementNoticeSchema(PublicSchema):
    """How a Plug & Charge session was settled, for the operator of the station. It does not show who paid."""

    id: str = Field(description="the authorization it settles", examples=["auth_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["plug_and_charge_settlement"] = "plug_and_charge_settlement"
    session: str = Field(examples=["ses_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    session_ref: str | None = Field(description="the operator's own name for the session")
    evse_id: str
    status: Literal["Settled", "Canceled", "Failed"] = Field(description="PaymentStatusEnumType of OCPP 2.1")
    amount: Minor = Field(description="what was captured; 0 unless settled")
    currency: Currency
    receipt: str | None = Field(description="the capture")
    receipt_url: str | None = Field(
        None, description="what the session cost, for the driver: a page that needs no key and names nobody"
    )
    settled_at: Instant
