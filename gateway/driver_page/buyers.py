"""A company that a driver names for the invoice: the form's fields as a party, and what is wrong with them.

Owns: which fields there are and how they are checked. Must not know: HTTP, storage, VAT.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from clearing.errors import ClearingError
from clearing.language import Language
from clearing.parties.business_details import BusinessAddress, BusinessDetails
from clearing.parties.party import DocumentCadence, Party, PartyKind
from gateway.ids import format_id

FIELDS: Final = ("name", "street", "postal_code", "city", "country", "vat_id", "reference")
_REQUIRED: Final = ("name", "street", "postal_code", "city", "country")
_LONGEST: Final = 100
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_VAT_ID: Final = re.compile(r"[A-Z]{2}[A-Z0-9+*]{2,13}|CHE[0-9]{9}(?:MWST|TVA|IVA)?")
_PLACEHOLDER_CURRENCY: Final = "EUR"  # the buyers' service sets that of the party whose buyer it is


def buyer_fields(form: Mapping[str, str]) -> dict[str, str]:
    """The fields as they are stored: one line each, without spaces around."""
    fields = {name: " ".join(form.get(name, "").split()) for name in FIELDS}
    fields["country"] = fields["country"].upper()
    fields["vat_id"] = re.sub(r"[\s.-]", "", fields["vat_id"]).upper()
    return fields


def wrong_fields(fields: Mapping[str, str]) -> list[str]:
    """The names of the fields that can't be taken, in the form's order."""
    wrong = [
        name
        for name in FIELDS
        if len(fields[name]) > _LONGEST
        or not fields[name].isprintable()
        or (name in _REQUIRED and not fields[name])
    ]
    if not _COUNTRY.fullmatch(fields["country"]):
        wrong.append("country")
    if fields["vat_id"] and not _VAT_ID.fullmatch(fields["vat_id"]):
        wrong.append("vat_id")
    return sorted(set(wrong), key=FIELDS.index)


def buyer_of(fields: Mapping[str, str], *, token: str, language: Language) -> Party:
    """The buyer; the same fields of the same payment are the same buyer.

    Raises ClearingError, naming the field.
    """
    key = "\n".join([token, *(fields[name] for name in FIELDS)])
    digest = hashlib.sha256(key.encode()).digest()
    return Party(
        id=format_id("buy", UUID(bytes=digest[:16])),
        kind=PartyKind.BUYER,
        name=fields["name"],
        country=fields["country"],
        tax_jurisdiction=fields["country"],
        vat_id=fields["vat_id"] or None,
        settlement_currency=_PLACEHOLDER_CURRENCY,
        time_zone="UTC",
        document_cadence=DocumentCadence.SESSION,
        details=BusinessDetails(
            address=BusinessAddress(
                street=fields["street"],
                post_code=fields["postal_code"],
                town=fields["city"],
                country=fields["country"],
            ),
            buyer_reference=fields["reference"] or None,
            language=language,
        ),
    )


def field_of(error: ClearingError) -> str:
    """The field of the form that an error is about; `vat_id` where it names another."""
    text = str(error)
    return next((name for name in FIELDS if f" {name}:" in text), "vat_id")
