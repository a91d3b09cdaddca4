"""Which language a driver reads, and its texts.

Owns: the choice by Accept-Language, and the texts of the page (`texts/<language>.toml`). Must not know: HTML.
Source: RFC 9110 section 12.5.4 (Accept-Language).
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from clearing.language import Language, texts

_MOST_RANGES: Final = 20


def choose_language(chosen: str | None, accepted: str, *, default: Language = Language.ENGLISH) -> Language:
    """The language that was chosen, else the best that the browser accepts, else `default`."""
    named = _language(chosen or "")
    if named is not None:
        return named
    best, weight = default, Decimal(0)
    for part in accepted.split(",")[:_MOST_RANGES]:
        name, _, parameters = part.partition(";")
        found, share = _language(name), _weight(parameters)
        if found is not None and share > weight:
            best, weight = found, share
    return best


def texts_of(language: Language) -> Mapping[str, Any]:
    """The texts of the page in one language."""
    return texts("gateway.driver_page", language)


def _language(name: str) -> Language | None:
    try:
        return Language(name.strip().partition("-")[0].lower())
    except ValueError:
        return None


def _weight(parameters: str) -> Decimal:
    name, _, value = parameters.strip().partition("=")
    if name.strip().lower() != "q":
        return Decimal(1)
    try:
        weight = Decimal(value.strip())
    except InvalidOperation:
        return Decimal(0)
    return weight if weight.is_finite() else Decimal(0)
