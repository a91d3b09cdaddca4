"""The texts of prices and receipts by language, and how a language writes numbers.

Owns: which texts they are, number formats. Must not know: how a price is computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import msgspec

from clearing.language import Language, texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Translations:
    """One language. Texts in braces are filled in; `point` is its decimal separator."""

    point: str
    energy: str
    charging: str
    parking: str
    reservation: str
    expired: str
    overtime: str
    flat: str
    flat_reservation: str
    flat_expired: str
    per_kwh: str
    per_minute: str
    per_session: str
    per_reservation: str
    per_expired: str
    while_charging: str
    while_parking: str
    while_reserved: str
    while_expired: str
    while_overtime: str
    minimum: str
    maximum: str
    floor: str
    tax: str
    tax_extra: str
    total: str
    total_net: str
    free: str
    blocks: str
    billed: str
    between: str
    on: str
    dates_from: str
    dates_until: str
    energy_from: str
    energy_until: str
    power_from: str
    power_until: str
    current_from: str
    current_until: str
    time_from: str
    time_until: str
    day_names: tuple[str, str, str, str, str, str, str]


LANGUAGES: Final[Mapping[str, Translations]] = MappingProxyType(
    {
        language: msgspec.convert(dict(texts("clearing.pricing", language)), Translations)
        for language in Language
    }
)
_POINT_REGIONS: Final = frozenset({"ch", "li"})


def translations_for(locale: str) -> Translations:
    """The texts of a locale such as de, de-CH or fr_FR; English for any other language.

    Switzerland and Liechtenstein write amounts with a decimal point in every language.
    """
    language, _, region = locale.replace("_", "-").lower().partition("-")
    found = LANGUAGES.get(language, LANGUAGES[Language.ENGLISH])
    return replace(found, point=".") if region in _POINT_REGIONS else found


def number_text(value: Decimal, translations: Translations, *, least_digits: int = 0) -> str:
    """A number in the language's form, trailing zeros left out down to `least_digits` decimals."""
    text = format(value, "f")
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0").ljust(least_digits, "0")
    return f"{whole}{translations.point}{decimals}" if decimals else whole
