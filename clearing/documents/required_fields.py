"""What a document lacks of a party: the fields that its state or the receiver's profile demands.

Owns: which fields, by whose law. Must not know: where they are given, what becomes of the document.
Sources: Directive 2006/112/EC art. 226(5), MWSTG art. 26(2); EN 16931 BR-E-02; CGI annex II art. 242 nonies A
(SIREN); XRechnung 3.0 BR-DE-2 to BR-DE-9, BR-DE-15; Peppol BIS Billing 3 R003, R010, R020, NL-R-003.
"""

from typing import Final

from clearing.errors import InvalidDocumentError
from clearing.parties.business_details import BusinessDetails, InvoiceProfile

# States without post codes for every place.
_WITHOUT_POST_CODE: Final = frozenset({"AE", "HK", "IE"})
# Whose sellers name their register of companies on every invoice.
_WITH_REGISTER: Final = frozenset({"FR"})


def missing_of_supplier(
    details: BusinessDetails, country: str, *, profile: InvoiceProfile, exempt_without_vat_id: bool
) -> list[str]:
    """The fields of the supplier that are not there, as `POST /v1/parties` names them.

    `exempt_without_vat_id`: it charges no VAT as a small business, so its tax number stands for a VAT id.
    """
    missing = _missing_of_address(details)
    if country in _WITH_REGISTER and not details.register_number:
        missing.append("register_number")
    if exempt_without_vat_id and not details.tax_number:
        missing.append("tax_number")
    if profile is InvoiceProfile.XRECHNUNG:
        missing += _missing_of_contact(details)
    if profile is not InvoiceProfile.EN16931 and details.electronic_address is None:
        missing.append("electronic_address")
    if profile is InvoiceProfile.PEPPOL and country == "NL" and not details.register_number:
        missing.append("register_number")
    return missing


def missing_of_customer(details: BusinessDetails, *, profile: InvoiceProfile) -> list[str]:
    """The fields of the customer that are not there."""
    missing = _missing_of_address(details)
    if profile is InvoiceProfile.EN16931:
        return missing
    if details.electronic_address is None:
        missing.append("electronic_address")
    if not details.buyer_reference:
        missing.append("buyer_reference")
    return missing


def _missing_of_address(details: BusinessDetails) -> list[str]:
    address = details.address
    if address is None:
        return ["address"]
    wanted = {"street": address.street, "town": address.town}
    if address.country not in _WITHOUT_POST_CODE:
        wanted["post_code"] = address.post_code
    return [f"address.{name}" for name, value in wanted.items() if not value.strip()]


def _missing_of_contact(details: BusinessDetails) -> list[str]:
    contact = details.contact
    if contact is None:
        return ["contact"]
    wanted = {"name": contact.name, "telephone": contact.telephone, "email": contact.email}
    return [f"contact.{name}" for name, value in wanted.items() if not value.strip()]


def require(party_id: str, missing: list[str]) -> None:
    """Refuse a document whose party lacks fields. Raises InvalidDocumentError that names them."""
    if missing:
        raise InvalidDocumentError(
            f"{party_id!r} lacks {', '.join(missing)}; add this with POST /v1/parties "
            "(the document is issued once it is there)"
        )
