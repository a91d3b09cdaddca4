"""A captured session, as the gateway hands it to clearing.

Owns: the shape of the hand-over. Must not know: how the payment was captured, or what becomes of the money.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from clearing.errors import InvalidSessionError

MAX_SHARD = 63


class AuthorizationMethod(StrEnum):
    """What authorized the session."""

    CARD = "card"
    APP = "app"
    PLUG_AND_CHARGE = "plug_and_charge"


class FundingSource(StrEnum):
    """Where the captured money lies: at the PSP, or on the demand partner's funded account."""

    PSP = "psp"
    PARTNER_ACCOUNT = "partner_account"


def shard_of(identifier: UUID) -> int:
    """The storage shard of an id: its last byte & 63."""
    return identifier.bytes[15] & MAX_SHARD


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedSession:
    """One session whose payment was captured, with the evidence to price it again.

    `sale_at` is the chargeable event (the end of the session); amounts are minor units. `tariff_json` are the
    snapshot's canonical bytes, whose SHA-256 is `tariff_sha256`; `cdr_json` the CDR as received. Versions are
    OCPI's ("2.1.1", "2.2.1", "2.3.0"). `account_party_id` is whose funded account was debited, by default the
    demand partner's. `shortfall` says why less than the tariff's price was captured, where
    it was. `buyer_id` is the business that it is sold to; None: a driver.
    Raises InvalidSessionError on a naive time, a shard that is not the id's, or an amount that is not
    positive.
    """

    shard: int
    session_id: UUID
    cpo_id: str
    demand_partner_id: str
    site_host_id: str | None = None
    emsp_id: str | None = None
    authorization_method: AuthorizationMethod
    funding: FundingSource
    account_party_id: str | None = None
    tax_jurisdiction: str
    time_zone: str
    sale_at: datetime
    captured_at: datetime
    captured_minor: int
    currency: str
    tariff_sha256: str
    tariff_json: bytes
    tariff_version: str
    cdr_id: str
    cdr_json: bytes
    cdr_version: str
    psp_object_id: str | None = None
    psp_fee_minor: int | None = None
    psp_fee_currency: str | None = None
    shortfall: str | None = None
    buyer_id: str | None = None

    def __post_init__(self) -> None:
        if self.shard != shard_of(self.session_id):
            raise InvalidSessionError(
                self.session_id, f"shard {self.shard} is not the id's shard {shard_of(self.session_id)}"
            )
        if self.sale_at.tzinfo is None or self.captured_at.tzinfo is None:
            raise InvalidSessionError(self.session_id, "sale_at and captured_at need a time zone")
        if self.captured_minor <= 0:
            raise InvalidSessionError(
                self.session_id, f"captured {self.captured_minor} minor units; expected more than 0"
            )
        if (self.psp_fee_minor is None) != (self.psp_fee_currency is None):
            raise InvalidSessionError(self.session_id, "a PSP fee needs both an amount and a currency")
        if self.psp_fee_minor is not None and self.psp_fee_minor < 0:
            raise InvalidSessionError(self.session_id, f"a PSP fee of {self.psp_fee_minor} is negative")
