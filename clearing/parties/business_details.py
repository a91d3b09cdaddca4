"""What documents say of a business: its address, registers, contact, and how it wants its invoices.

Owns: these facts, their shape, their JSON. Must not know: which of them a state demands
(`clearing/documents/required_fields.py`), where they are stored.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from clearing.errors import InvalidPartyError
from clearing.language import Language

_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_SCHEME: Final = re.compile(r"[0-9]{4}|[A-Z]{2}")
_LANGUAGE_OF: Final = {
    "AT": Language.GERMAN,
    "CH": Language.GERMAN,
    "DE": Language.GERMAN,
    "FR": Language.FRENCH,
    "IT": Language.ITALIAN,
    "LI": Language.GERMAN,
    "MC": Language.FRENCH,
    "SM": Language.ITALIAN,
}


class InvoiceProfile(StrEnum):
    """The rules that a receiver's invoices follow, beyond EN 16931."""

    EN16931 = "en16931"
    XRECHNUNG = "xrechnung"  # XRechnung 3.0
    PEPPOL = "peppol"  # Peppol BIS Billing 3, and its self-billing


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessAddress:
    """A postal address; `country` is ISO 3166-1 alpha-2. Empty parts are not known."""

    street: str = ""
    post_code: str = ""
    town: str = ""
    country: str

    def lines(self) -> list[str]:
        """The address as it is printed: street, post code with town, country."""
        town = " ".join(part for part in (self.post_code, self.town) if part)
        return [part for part in (self.street, town, self.country) if part]


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessContact:
    """Who answers questions about an invoice (BG-6, BG-9)."""

    name: str
    telephone: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectronicAddress:
    """Where electronic invoices are received (BT-34, BT-49); `scheme` is of the EAS code list."""

    scheme: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessDetails:
    """A business as documents name it.

    `tax_number` is the tax office's own number, no VAT id (BT-32); `register_number` that of the register of
    companies (BT-30: KvK, SIREN, HRB). `buyer_reference` is what it wants to read on invoices to it (BT-10).
    `language` None: that of its country.
    """

    address: BusinessAddress | None = None
    tax_number: str | None = None
    register_number: str | None = None
    contact: BusinessContact | None = None
    electronic_address: ElectronicAddress | None = None
    buyer_reference: str | None = None
    invoice_profile: InvoiceProfile = InvoiceProfile.EN16931
    language: Language | None = None

    def to_json(self) -> str:
        """The details as JSON, which is stored."""
        return msgspec.json.encode(self, order="sorted").decode()


NO_DETAILS: Final = BusinessDetails()
_decoder: Final = msgspec.json.Decoder(BusinessDetails)


def parse_details(text: str) -> BusinessDetails:
    """Details from their JSON."""
    return _decoder.decode(text)


def language_of(details: BusinessDetails, country: str) -> Language:
    """The language of a business's documents: its own choice, else its country's, else English."""
    return details.language or _LANGUAGE_OF.get(country, Language.ENGLISH)


def check_details(party_id: str, details: BusinessDetails) -> None:
    """Reject details that no document can print. Raises InvalidPartyError, naming the field."""
    address, electronic = details.address, details.electronic_address
    if address is not None and not _COUNTRY.fullmatch(address.country):
        raise InvalidPartyError(
            party_id, f"address.country: {address.country!r} is not an ISO 3166-1 code such as NL"
        )
    if electronic is not None and not _SCHEME.fullmatch(electronic.scheme):
        raise InvalidPartyError(
            party_id, f"electronic_address.scheme: {electronic.scheme!r} is not a code such as 0088 or EM"
        )
