"""VAT ids: one written form for each, and whether its check digits are right.

Owns: prefixes, compact form, the algorithms (python-stdnum). Must not know: whether an id is registered; that
is evidence with a date, from VIES or another register (`ports.VatEvidenceSource`), never looked up while
clearing.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

import stdnum.ch.uid
import stdnum.ch.vat
import stdnum.eu.vat
import stdnum.gb.vat
import stdnum.is_.vsk
import stdnum.li.peid
import stdnum.no.mva
from stdnum.exceptions import InvalidFormat, ValidationError

from clearing.errors import InvalidVatIdError
from clearing.tax.vat_rates import Regime, TaxJurisdiction

# EN 16931 BR-CO-9 wants the country's ISO prefix, but EL for Greece; Northern Ireland has XI.
PREFIX: Final = MappingProxyType({"GR": "EL", "MC": "FR"})
_GREEK: Final = ("EL", "GR")
_MIN_DIGITS: Final = 2


def normalize(text: str, *, tax_jurisdiction: str) -> str:
    """The id of `tax_jurisdiction` in its one written form.

    `EL094259216`, `CHE107787577MWST`, `NO995525828MVA`.

    Separators, case and a missing prefix are mended; a wrong length or check digit is not. Raises
    InvalidVatIdError.
    """
    prefix = PREFIX.get(tax_jurisdiction, tax_jurisdiction)
    check = _CHECKS.get(prefix, _european)
    try:
        return check(text, prefix)
    except InvalidFormat as error:
        detail = error.args[0] if error.args else str(error)
        raise InvalidVatIdError(text, tax_jurisdiction, detail) from error
    except ValidationError as error:
        raise InvalidVatIdError(text, tax_jurisdiction, str(error)) from error


def authority(tax_jurisdiction: TaxJurisdiction) -> str:
    """Whose ids a party established in `tax_jurisdiction` has.

    The state's, where the tax jurisdiction has none of its own.
    """
    if tax_jurisdiction.regime in (Regime.LOCAL_TAX, Regime.NONE):
        return tax_jurisdiction.country
    return tax_jurisdiction.vat_of.partition("-")[0]


def _european(text: str, prefix: str) -> str:
    bare = "".join(sign for sign in text.upper() if sign.isalnum())
    if prefix == "EL" and bare[:_MIN_DIGITS] in _GREEK:
        bare = bare[_MIN_DIGITS:]
    bare = bare if bare.startswith(prefix) else f"{prefix}{bare}"
    return _text(stdnum.eu.vat.validate(bare))


def _swiss(text: str, _: str) -> str:
    if stdnum.ch.uid.is_valid(text):
        raise InvalidFormat(
            "a VAT id ends with MWST, TVA, IVA or TPV; without it, it is only the company's UID"
        )
    return _text(stdnum.ch.vat.validate(text))


def _british(text: str, _: str) -> str:
    return f"GB{_text(stdnum.gb.vat.validate(text))}"


def _norwegian(text: str, _: str) -> str:
    return f"NO{_text(stdnum.no.mva.validate(text))}"


def _icelandic(text: str, prefix: str) -> str:
    return f"{prefix}{_text(stdnum.is_.vsk.validate(text))}"


def _liechtenstein(text: str, _: str) -> str:
    return f"LI{_text(stdnum.li.peid.validate(text))}"


def _text(value: Any) -> str:
    return str(value)


_CHECKS: Final[dict[str, Callable[[str, str], str]]] = {
    "CH": _swiss,
    "GB": _british,
    "IS": _icelandic,
    "LI": _liechtenstein,
    "NO": _norwegian,
}
