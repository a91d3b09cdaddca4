"""Bank accounts: IBAN and BIC checked, holder and address as a payment needs them, and what a change does.

Owns: the validity of bank details and when they may be paid to. Must not know: where they are stored.
Sources: ISO 13616 (IBAN), ISO 9362 (BIC), by the registry in python-stdnum; EPC217-08 and the Swiss Payment
Standards for structured addresses (town and country at least; no address lines alone from November 2026).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from stdnum import bic as bic_numbers
from stdnum import iban as iban_numbers
from stdnum.exceptions import ValidationError

from clearing.errors import ClearingConflictError, InvalidPaymentError

_SHORTEST_IBAN: Final = 15
_LIMITS: Final = MappingProxyType(
    {"street": 70, "building": 16, "post_code": 16, "town": 35, "country": 2, "name": 140}
)
# Countries and tax jurisdictions within the geographical scope of the SEPA schemes (EPC409-09).
SEPA_COUNTRIES: Final = frozenset(
    {
        "AD",
        "AL",
        "AT",
        "BE",
        "BG",
        "CH",
        "CY",
        "CZ",
        "DE",
        "DK",
        "EE",
        "ES",
        "FI",
        "FR",
        "GB",
        "GI",
        "GR",
        "HR",
        "HU",
        "IE",
        "IS",
        "IT",
        "LI",
        "LT",
        "LU",
        "LV",
        "MC",
        "MD",
        "ME",
        "MK",
        "MT",
        "NL",
        "NO",
        "PL",
        "PT",
        "RO",
        "RS",
        "SE",
        "SI",
        "SK",
        "SM",
        "VA",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostalAddress:
    """A structured address; `town` and `country` (ISO 3166-1) are the least that banks take.

    Raises InvalidPaymentError, naming the field.
    """

    street: str = ""
    building: str = ""
    post_code: str = ""
    town: str
    country: str

    def __post_init__(self) -> None:
        for field in ("street", "building", "post_code", "town", "country"):
            if len(getattr(self, field)) > _LIMITS[field]:
                raise InvalidPaymentError(f"address.{field}", f"is longer than {_LIMITS[field]} characters")
        if not self.town.strip():
            raise InvalidPaymentError("address.town", "is empty; banks reject an address without a town")
        if not (len(self.country) == 2 and self.country.isascii() and self.country.isupper()):  # noqa: PLR2004 - ISO 3166-1 alpha-2
            raise InvalidPaymentError(
                "address.country", f"{self.country!r} is not an ISO 3166-1 code such as NL"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BankDetails:
    """Where money is paid: holder, IBAN without spaces, BIC where it is known, structured address.

    `reference` is what the payee wants on every payment: a QR reference or an ISO 11649 one.

    Raises InvalidPaymentError, naming the field and what is wrong with it.
    """

    name: str
    iban: str
    bic: str | None = None
    address: PostalAddress
    reference: str | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > _LIMITS["name"]:
            raise InvalidPaymentError("name", "expected 1 to 140 characters, the holder of the account")
        check_iban(self.iban)
        if self.bic is not None:
            check_bic(self.bic, iban=self.iban)

    @property
    def country(self) -> str:
        """The country of the account, which decides its bank's clearing days."""
        return self.iban[:2]

    @property
    def masked(self) -> str:
        """The IBAN with its middle hidden, for logs and screens."""
        return masked(self.iban)


def is_payable_by_bank(currency: str, iban: str) -> bool:
    """Whether our payment files can carry that currency to that account.

    EUR to any account in SEPA (EPC409-09), CHF to one in Switzerland or Liechtenstein (Swiss Payment
    Standards). SEK, NOK, DKK, PLN, CZK, HUF, RON and GBP have national schemes with files, references and
    cut-offs of their own (Bankgirot, NICS, Sumclearing, Elixir, CERTIS, GIRO, TransFonD, Bacs and Faster
    Payments), which pain.001 alone does not satisfy: none is claimed here.
    """
    if currency == "CHF":
        return iban[:2] in {"CH", "LI"}
    return currency == "EUR" and iban[:2] in SEPA_COUNTRIES


def masked(iban: str) -> str:
    """An IBAN with its middle hidden; what is too short to be one is hidden whole."""
    return f"{iban[:4]}...{iban[-4:]}" if len(iban) >= _SHORTEST_IBAN else "..."


def check_iban(iban: str) -> None:
    """Length, national structure and check digits. Raises InvalidPaymentError."""
    if iban != iban_numbers.compact(iban):
        raise InvalidPaymentError("iban", "expected upper case without spaces, such as NL91ABNA0417164300")
    try:
        iban_numbers.validate(iban)
    except ValidationError as error:
        raise InvalidPaymentError("iban", f"{masked(iban)} is not an IBAN: {error}") from None


def check_bic(bic: str, *, iban: str) -> None:
    """Structure, and a country that can hold the account. Raises InvalidPaymentError."""
    try:
        bic_numbers.validate(bic)
    except ValidationError as error:
        raise InvalidPaymentError("bic", f"{bic!r} is not a BIC: {error}") from None
    if bic != bic.upper() or len(bic) not in (8, 11):
        raise InvalidPaymentError("bic", f"{bic!r} is not a BIC of 8 or 11 upper-case characters")
    if bic[4:6] != iban[:2] and (bic[4:6], iban[:2]) not in _SHARED:
        raise InvalidPaymentError("bic", f"{bic!r} is a bank in {bic[4:6]}, the account one in {iban[:2]}")


# A country's IBANs that banks established elsewhere issue: dependencies, and Liechtenstein's Swiss banks.
_SHARED: Final = frozenset(
    [(bank, "FR") for bank in ("GF", "GP", "MQ", "RE", "YT", "PM", "BL", "MF", "NC", "PF", "WF")]
    + [(bank, "GB") for bank in ("GG", "JE", "IM")]
    + [("FR", "MC"), ("MC", "FR"), ("IT", "SM"), ("CH", "LI"), ("LI", "CH"), ("IT", "VA")]
)


class DetailsState(StrEnum):
    """Whether bank details may be paid to."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    RETIRED = "retired"


class DetailsEvent(StrEnum):
    """What can happen to bank details."""

    APPROVE = "approve"
    REJECT = "reject"
    RETIRE = "retire"


_STATE = DetailsState
_EVENT = DetailsEvent
TRANSITIONS: Final = MappingProxyType(
    {
        (_STATE.PENDING, _EVENT.APPROVE): _STATE.APPROVED,
        (_STATE.PENDING, _EVENT.REJECT): _STATE.REJECTED,
        (_STATE.APPROVED, _EVENT.RETIRE): _STATE.RETIRED,
    }
)


def advance(state: DetailsState, event: DetailsEvent) -> DetailsState:
    """The state after `event`. Raises ClearingConflictError where the event is not allowed."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise ClearingConflictError(f"bank details that are {state} can't {event}")
    return following


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedDetails:
    """Bank details as submitted: by whom, when, and who confirmed them over another channel."""

    party_id: str
    version: int
    details: BankDetails
    state: DetailsState
    submitted_by: str
    submitted_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None


def check_second_person(submitted_by: str, decided_by: str) -> None:
    """Four eyes: who submitted or asked does not decide. Raises ClearingConflictError."""
    if submitted_by.casefold() == decided_by.casefold():
        raise ClearingConflictError(f"{decided_by!r} submitted this; another person must decide")
