"""The VAT of a document in the currency of the state whose VAT it is.

Owns: which currency that is, and the amount at a day's reference rate. Must not know: XML, the repository.
Source: Directive 2006/112/EC art. 230 and 91(2); EN 16931 BT-6, BT-111, BR-53; MWSTV art. 45, VATA 1994
sched. 11 para. 2.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

from clearing.documents.charged_items import TaxInCurrency
from clearing.errors import InvalidDocumentError, RateUnavailableError
from clearing.fx import RateTable, convert
from clearing.tax.vat import VAT_AREAS, Category, VatDecision

_CURRENCY_OF: Final = {
    "CH": "CHF",
    "CZ": "CZK",
    "DK": "DKK",
    "GB": "GBP",
    "HU": "HUF",
    "IS": "ISK",
    "NO": "NOK",
    "PL": "PLN",
    "RO": "RON",
    "SE": "SEK",
}


def state_currency(tax_jurisdiction: str) -> str:
    """The currency in which a tax jurisdiction's VAT is owed."""
    return _CURRENCY_OF.get(VAT_AREAS.get(tax_jurisdiction, tax_jurisdiction), "EUR")


def vat_in_state_currency(
    vat_minor: int, rulings: Sequence[VatDecision], *, currency: str, day: date, fx: RateTable
) -> TaxInCurrency | None:
    """The VAT of a document in `currency` at the last rate published up to `day`.

    None where no VAT is shown, or the document is in the state's currency. Raises InvalidDocumentError where
    there is no rate.
    """
    of = {state_currency(one.vat_of) for one in rulings if one.category is Category.STANDARD}
    if not of or of == {currency}:
        return None
    wanted = min(of)
    try:
        lock = fx.lock(base=currency, quote=wanted, day=day)
    except RateUnavailableError as error:
        raise InvalidDocumentError(f"its VAT must be stated in {wanted} too: {error}") from error
    return TaxInCurrency(
        currency=wanted,
        vat_minor=convert(vat_minor, lock),
        rate=lock.rate,
        rate_source=lock.source,
        rate_day=lock.rate_date.isoformat(),
    )
