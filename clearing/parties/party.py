"""Parties: where they are established, their terms, VAT registrations and the evidence of them.

Owns: the shape and the validity of a party's data. Must not know: where it is stored, what the party earns.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from clearing.errors import InvalidPartyError
from clearing.money import exponent
from clearing.parties.business_details import NO_DETAILS, BusinessDetails, check_details
from clearing.parties.payout_terms import DAILY_TERMS, PayoutTerms

PLATFORM_ID: Final = "platform"
END_OF_DAY_MINUTE: Final = 1440
MAX_TERMS_DAYS: Final = 60
_SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PREFIX_LENGTH: Final = 2  # of a VAT id: whose it is
_COUNTRY: Final = re.compile(r"[A-Z]{2}")


class PartyKind(StrEnum):
    """The role a party plays; it names the party's account."""

    PLATFORM = "platform"
    CPO = "cpo"
    DEMAND_PARTNER = "demand_partner"
    EMSP = "emsp"
    SITE_HOST = "site_host"
    BUYER = "buyer"  # a business that charging sessions are sold to; it is paid nothing


class DocumentCadence(StrEnum):
    """How many supplies a document between parties covers; days are the platform's."""

    SESSION = "session"  # one document for each session
    DAILY = "daily"
    WEEKLY = "weekly"  # Monday to Sunday
    MONTHLY = "monthly"


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
class VatRegistration:
    """A registration for VAT elsewhere than at the place of establishment.

    Both days inclusive, `valid_to` None is open.

    It counts only on days on which evidence says that its id is valid.
    """

    tax_jurisdiction: str
    vat_id: str
    valid_from: date
    valid_to: date | None = None

    def covers(self, day: date) -> bool:
        """Whether it is in force on `day`."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A party as registered.

    `tax_jurisdiction` is that of its place of establishment and `vat_id` its id there; `vat_registrations`
    are those elsewhere. `vat_evidence` is about all of them. `cut_off_minute` counts from local midnight.

    Raises InvalidPartyError when a field is missing or contradicts another, naming it.
    """

    id: str
    kind: PartyKind
    name: str
    country: str
    tax_jurisdiction: str
    vat_id: str | None = None
    vat_registrations: Sequence[VatRegistration] = ()
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
    document_cadence: DocumentCadence = DocumentCadence.MONTHLY
    details: BusinessDetails = NO_DETAILS

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
        self._check_vat()
        check_details(self.id, self.details)
        if (self.kind is PartyKind.PLATFORM) != (self.id == PLATFORM_ID):
            raise InvalidPartyError(self.id, f"kind: the platform, and only it, has the id {PLATFORM_ID!r}")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidPartyError(
                self.id, f"time_zone: {self.time_zone!r} is not an IANA zone such as Europe/Zurich"
            ) from None

    def _check_vat(self) -> None:
        for place, one in enumerate(self.vat_registrations):
            path = f"vat_registrations[{place}]"
            if one.tax_jurisdiction == self.tax_jurisdiction:
                raise InvalidPartyError(
                    self.id,
                    f"{path}.tax_jurisdiction: {one.tax_jurisdiction} is the place of establishment; "
                    "its id is vat_id",
                )
            if self.vat_id is not None and one.vat_id.startswith(self.vat_id[:_PREFIX_LENGTH]):
                raise InvalidPartyError(
                    self.id,
                    f"{path}.vat_id: {one.vat_id} is of the same state as vat_id {self.vat_id}",
                )
            if one.valid_to is not None and one.valid_to < one.valid_from:
                raise InvalidPartyError(self.id, f"{path}.valid_to: lies before valid_from")
            for other in self.vat_registrations[:place]:
                if other.tax_jurisdiction == one.tax_jurisdiction and (
                    other.covers(one.valid_from) or one.covers(other.valid_from)
                ):
                    raise InvalidPartyError(
                        self.id, f"{path}: two registrations in {one.tax_jurisdiction} are in force at once"
                    )

    def vat_id_on(self, day: date) -> str | None:
        """The VAT id of the place of establishment if evidence in force on `day` says it is valid, else None.

        No evidence is never validity: a reverse charge needs proof at the chargeable event
        (Directive 2006/112/EC art. 196, Implementing Regulation 282/2011 art. 18). An id that it had there
        before counts on its days; one of a registration elsewhere, also of an ended one, never does.
        """
        if self.vat_id is None:
            return None
        state = self.vat_id[:_PREFIX_LENGTH]
        return _proven([one for one in self.vat_evidence if one.vat_id.startswith(state)], day)

    def vat_ids_on(self, day: date) -> dict[str, str]:
        """The ids proven valid on `day` by tax jurisdiction, the place of establishment among them."""
        found: dict[str, str] = {}
        own = self.vat_id_on(day)
        if own is not None:
            found[self.tax_jurisdiction] = own
        for registration in self.vat_registrations:
            evidence = [one for one in self.vat_evidence if one.vat_id == registration.vat_id]
            if registration.covers(day) and _proven(evidence, day) is not None:
                found[registration.tax_jurisdiction] = registration.vat_id
        return found

    def vat_ids_within(self, start: date, end: date) -> dict[str, str]:
        """The ids proven on any day from `start` to `end` (inclusive) by tax_jurisdiction.

        Each as it was last.

        A document of a period shows the id that its supplies were made under, also where it lapsed meanwhile.
        """
        eve = timedelta(days=1)
        turns = [one.effective_from - eve for one in self.vat_evidence]
        turns += [one.valid_to for one in self.vat_registrations if one.valid_to is not None]
        found: dict[str, str] = {}
        for day in sorted({end, *(turn for turn in turns if start <= turn < end)}, reverse=True):
            for tax_jurisdiction, vat_id in self.vat_ids_on(day).items():
                found.setdefault(tax_jurisdiction, vat_id)
        return found


def _proven(evidence: Sequence[VatEvidence], day: date) -> str | None:
    """The id that the latest finding in force on `day` is about, if it found it valid."""
    in_force = [one for one in evidence if one.effective_from <= day]
    if not in_force:
        return None
    latest = max(in_force, key=lambda one: (one.effective_from, one.checked_at))
    return latest.vat_id if latest.valid else None
