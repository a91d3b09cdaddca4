"""Rows of customers, setups and saved payment methods as values.

Owns: the shapes. Must not know: SQL, the PSP, the public API's names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.database import FromRow
from gateway.payments.psp.payer_port import SetupState


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRecord(FromRow):
    """A driver of a party. `psp_customer` is None until the PSP has answered."""

    id: UUID
    party_id: str
    psp_customer: str | None
    reference: str | None
    metadata: Mapping[str, str]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupRecord(FromRow):
    """The setup of a payment method; it holds no secret."""

    id: UUID
    party_id: str
    customer_id: UUID
    psp_customer: str
    off_session: bool
    return_url: str
    psp_setup: str | None
    state: SetupState
    version: int
    psp_method: str | None
    mandate: str | None
    last_attempt: str | None
    error: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", SetupState(self.state))


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedMethodRecord(FromRow):
    """A payment method that a driver has saved."""

    psp_method: str
    id: UUID
    party_id: str
    customer_id: UUID
    psp_customer: str
    setup_id: UUID | None
    authorization_id: UUID | None
    consent: str | None
    mandate: str | None
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    wallet: str | None
    created_at: datetime
    removed_at: datetime | None
    detached_at: datetime | None
