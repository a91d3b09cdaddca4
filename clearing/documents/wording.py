"""The words that documents print beside labels: why no VAT is shown, that a customer wrote the document.

Owns: which text belongs to which VAT rule, and the literal mentions that states ask for. Must not know: what
a document holds.
Source of the mentions: Directive 2006/112/EC art. 226(10a) in the state's language; UStG § 14(4) no. 10; VAT
Notice 700/62 (United Kingdom). Of the exemption: art. 226(11); UStDV § 34a; UStG (AT) § 6(1) no. 27; CGI art.
293 B; L. 190/2014; Wet OB art. 25.
"""

from collections.abc import Mapping
from typing import Final

from clearing.tax.domestic_reverse_charge import DOMESTIC_REVERSE_CHARGE
from clearing.tax.vat import VAT_AREAS, Category, VatDecision

_SELF_BILLING: Final[Mapping[str, str]] = {
    "AT": "Gutschrift",
    "BE": "Factuur uitgereikt door afnemer / Autofacturation",
    "CH": "Gutschrift",
    "CZ": "Vystaveno zákazníkem",
    "DE": "Gutschrift",
    "DK": "Selvfakturering",
    "ES": "Facturación por el destinatario",
    "FI": "Itselaskutus",
    "FR": "Autofacturation",
    "GB": "Self-billing. The VAT shown is your output tax due to HMRC",
    "IE": "Self-billing",
    "IT": "Autofatturazione",
    "LI": "Gutschrift",
    "LU": "Autofacturation",
    "MC": "Autofacturation",
    "NL": "Factuur uitgereikt door afnemer",
    "PL": "Samofakturowanie",
    "PT": "Autofaturação",
    "RO": "Autofactură",
    "SE": "Självfakturering",
}
_SELF_BILLING_ELSEWHERE: Final = "Self-billing"
# Of GB without the words about the VAT, where none is shown.
_SELF_BILLING_WITHOUT_VAT: Final[Mapping[str, str]] = {"GB": "Self-billing"}
_SMALL_BUSINESS: Final[Mapping[str, str]] = {
    "AT": "Umsatzsteuerfrei: Kleinunternehmer (§ 6 Abs. 1 Z 27 UStG)",
    "DE": "Steuerfreier Kleinunternehmer (§ 19 UStG)",
    "FR": "TVA non applicable, article 293 B du CGI",
    "IT": "Operazione in franchigia da IVA, art. 1, commi da 54 a 89, L. 190/2014",
    "NL": "Vrijgesteld van OB op grond van artikel 25 Wet op de omzetbelasting 1968",
}
_REASONS: Final[Mapping[str, str]] = {
    "driver/ch_foreign_business": "reason_supplied_abroad",
    "dealer/ch_to_abroad": "reason_supplied_abroad",
}
_REASON_BY_START: Final = (
    ("dealer/seat_", "reason_at_seat"),
    ("service/to_", "reason_service_abroad"),
)
_REVERSE_CHARGE_SOURCES: Final[Mapping[str, str]] = {
    "driver/identified_business": "source_driver_identified_business",
    "dealer/union": "source_dealer_union",
    "service/union": "source_service_union",
}


def self_billing_mention(country: str, *, shows_vat: bool) -> str:
    """The words by which the supplier's state knows a document that the customer has written."""
    if not shows_vat and country in _SELF_BILLING_WITHOUT_VAT:
        return _SELF_BILLING_WITHOUT_VAT[country]
    return _SELF_BILLING.get(country, _SELF_BILLING_ELSEWHERE)


def exemption_reason(ruling: VatDecision, texts: Mapping[str, str], *, supplier_country: str) -> str:
    """Why no VAT is shown, in the document's language (BT-120); "" where it is shown.

    A small business's reason is its state's own phrase, whatever the language.
    """
    if ruling.category is Category.STANDARD:
        return ""
    if ruling.category is Category.EXEMPT:
        return _SMALL_BUSINESS.get(supplier_country, texts["reason_small_business"])
    if ruling.category is Category.REVERSE_CHARGE:
        return texts["reverse_charge"].format(source=_reverse_charge_source(ruling, texts))
    return _outside_reason(ruling, texts)


def _reverse_charge_source(ruling: VatDecision, texts: Mapping[str, str]) -> str:
    key = _REVERSE_CHARGE_SOURCES.get(ruling.rule)
    if key is not None:
        return texts[key]
    return DOMESTIC_REVERSE_CHARGE[VAT_AREAS.get(ruling.vat_of, ruling.vat_of)].source


def _outside_reason(ruling: VatDecision, texts: Mapping[str, str]) -> str:
    if ruling.rule.endswith("/unregistered"):
        return texts["reason_unregistered"]
    found = _REASONS.get(ruling.rule) or next(
        (key for start, key in _REASON_BY_START if ruling.rule.startswith(start)), "reason_no_vat_here"
    )
    if ruling.acquisition_of is None:
        return texts[found]
    return f"{texts[found]}; {texts['reason_acquisition']}"
