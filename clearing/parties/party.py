"""Who takes part in clearing: their seat, their terms and the evidence of their VAT id.

Owns: the shape and the validity of a party's data. Must not know: where it is stored, what the party earns.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from clearing.errors import InvalidPartyError
from clearing.money import exponent
from clearing.parties.schedule import DAILY_TERMS, PayoutTerms

PLATFORM_ID: Final = "platform"
END_OF_DAY_MINUTE: Final = 1440
MAX_TERMS_DAYS: Final = 60
_SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")


class PartyKind(StrEnum):
    """The role a party plays; it names the party's account."""

    PLATFORM = "platform"
    CPO = "cpo"
    DEMAND_PARTNER = "demand_partner"
    EMSP = "emsp"
    SITE_HOST = "site_host"


@dataclass(frozen=True, slots=True, kw_only=True)
class VatEvidence:
    """From `effective_from` on, `vat_id` was found valid or not, by `source`, for example VIES or HMRC."""

    effective_from: date
    vat_id: str
    valid: bool
    source: str
    reference: str = ""
    checked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A party as registered.

    `territory` is the tax territory of its seat; `cut_off_minute` counts from local midnight.

    Raises InvalidPartyError when a field is missing or contradicts another, naming it.
    """

    id: str
    kind: PartyKind
    name: str
    country: str
    territory: str
    vat_id: str | None = None
    vat_evidence: Sequence[VatEvidence] = ()
    taxable_dealer: bool = False
    small_business: bool = False
    self_billing_since: date | None = None
    settlement_currency: str
    terms_days: int = 2
    time_zone: str
    cut_off_minute: int = END_OF_DAY_MINUTE
    minimum_payout_minor: int = 0
    connected_account: str | None = None
    payout_hold: str | None = None
    payout_terms: PayoutTerms = DAILY_TERMS

    def __post_init__(self) -> None:
        exponent(self.settlement_currency)
        if not _SLUG.fullmatch(self.id):
            raise InvalidPartyError(self.id, "id: expected 1 to 63 of A-Z a-z 0-9 . _ - such as NL-ABC")
        if not self.name.strip():
            raise InvalidPartyError(self.id, "name: is empty")
        if not _COUNTRY.fullmatch(self.country):
            raise InvalidPartyError(
                self.id, f"country: {self.country!r} is not an ISO 3166-1 code such as NL"
            )
        if not 0 <= self.terms_days <= MAX_TERMS_DAYS:
            raise InvalidPartyError(
                self.id, f"terms_days: {self.terms_days} is not within 0 to {MAX_TERMS_DAYS}"
            )
        if not 1 <= self.cut_off_minute <= END_OF_DAY_MINUTE:
            raise InvalidPartyError(self.id, f"cut_off_minute: {self.cut_off_minute} is not within 1 to 1440")
        if self.minimum_payout_minor < 0:
            raise InvalidPartyError(self.id, f"minimum_payout_minor: {self.minimum_payout_minor} is negative")
        if self.vat_evidence and self.vat_id is None:
            raise InvalidPartyError(self.id, "vat_id: there is evidence of a VAT id, but no VAT id")
        if (self.kind is PartyKind.PLATFORM) != (self.id == PLATFORM_ID):
            raise InvalidPartyError(self.id, f"kind: the platform, and only it, has the id {PLATFORM_ID!r}")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidPartyError(
                self.id, f"time_zone: {self.time_zone!r} is not an IANA zone such as Europe/Zurich"
            ) from None

    def vat_id_on(self, day: date) -> str | None:
        """The VAT id if evidence in force on `day` says it is valid, else None.

        No evidence is never validity: a reverse charge needs proof at the chargeable event
        (Directive 2006/112/EC art. 196, Implementing Regulation 282/2011 art. 18).
        """
        in_force = [evidence for evidence in self.vat_evidence if evidence.effective_from <= day]
        if not in_force:
            return None
        latest = max(in_force, key=lambda evidence: evidence.effective_from)
        return latest.vat_id if latest.valid else None
