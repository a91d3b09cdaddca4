"""The public tariff of OCPI 2.1.1, 2.2.1 and 2.3.0 as one model, and its frozen snapshot.

Owns: the canonical Tariff, its wire shapes by version, what a snapshot of a tariff is.
Must not know: how a price is computed, where a tariff is stored, who may send one.
Source: OCPI mod_tariffs of each version (Tariff, TariffElement, PriceComponent, TariffRestrictions).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from clearing.errors import MalformedDocumentError
from clearing.money import exponent
from clearing.pricing import json_document as document
from clearing.pricing.notes import Note, NoteCode, NoteSeverity
from clearing.pricing.ocpi_version import OcpiVersion, read_time
from clearing.pricing.restrictions import FIELDS as RESTRICTION_FIELDS
from clearing.pricing.restrictions import Restrictions, WireRestrictions, read_restrictions

__all__ = [
    "Dimension",
    "OcpiVersion",
    "PriceComponent",
    "PriceLimit",
    "Tariff",
    "TariffElement",
    "TariffSnapshot",
    "TaxMode",
    "freeze",
    "parse_tariff",
    "recognize_tariff",
]

DOCUMENT: Final = "tariff"


class Dimension(StrEnum):
    """TariffDimensionType: what a price component prices."""

    ENERGY = "ENERGY"  # kWh, step_size in Wh
    FLAT = "FLAT"  # once
    PARKING_TIME = "PARKING_TIME"  # hours not charging, step_size in seconds
    TIME = "TIME"  # hours charging or reserved, step_size in seconds


class TaxMode(StrEnum):
    """How the prices of a tariff relate to tax (2.3.0 TaxIncluded; earlier versions are always EXCLUDED)."""

    EXCLUDED = "NO"
    INCLUDED = "YES"
    NOT_APPLICABLE = "N/A"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceComponent:
    """One price: `price` in major units per kWh, per hour or flat; `vat` a percentage or None if unstated.

    `type` is the text as sent; `dimension` is None where this system does not know that type.
    `step_size` is in Wh or seconds; 0 means no rounding up.
    """

    type: str
    dimension: Dimension | None
    price: Decimal
    vat: Decimal | None
    step_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffElement:
    """Price components that share one set of restrictions; None means they always apply."""

    components: tuple[PriceComponent, ...]
    restrictions: Restrictions | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLimit:
    """A minimum or maximum of a session in major units; either side may be unstated."""

    excl_vat: Decimal | None
    incl_vat: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """A tariff in canonical form. `country_code` and `party_id` are None in 2.1.1, which has neither."""

    version: OcpiVersion
    country_code: str | None
    party_id: str | None
    id: str
    currency: str
    type: str | None
    alt_texts: tuple[tuple[str, str], ...]
    alt_url: str | None
    min_price: PriceLimit | None
    max_price: PriceLimit | None
    preauthorize_amount: Decimal | None
    tax_mode: TaxMode
    elements: tuple[TariffElement, ...]
    start: datetime | None
    end: datetime | None
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffSnapshot:
    """A tariff at one time: canonical JSON and its sha256 (lower-case hexadecimal)."""

    version: OcpiVersion
    canonical: bytes
    sha256: str
    tariff_id: str
    country_code: str | None
    party_id: str | None
    currency: str


class _WireComponent(msgspec.Struct):
    type: str
    price: Decimal
    vat: Decimal | None = None
    step_size: Decimal | None = None


class _WireElement(msgspec.Struct):
    price_components: list[_WireComponent]
    restrictions: WireRestrictions | None = None


class _WireLimit(msgspec.Struct):
    excl_vat: Decimal | None = None
    incl_vat: Decimal | None = None
    before_taxes: Decimal | None = None
    after_taxes: Decimal | None = None


class _WireText(msgspec.Struct):
    language: str
    text: str


class _WireTariff(msgspec.Struct):
    id: str
    currency: str
    elements: list[_WireElement]
    country_code: str | None = None
    party_id: str | None = None
    type: str | None = None
    tariff_alt_text: list[_WireText] | None = None
    tariff_alt_url: str | None = None
    min_price: _WireLimit | None = None
    max_price: _WireLimit | None = None
    preauthorize_amount: Decimal | None = None
    tax_included: str | None = None
    start_date_time: datetime | None = None
    end_date_time: datetime | None = None


_DECODER: Final = msgspec.json.Decoder(_WireTariff)

# Every field that a version's Tariff object has, read here or not; what is beyond is noted.
_FIELDS_2_1_1: Final = frozenset(
    {"id", "currency", "tariff_alt_text", "tariff_alt_url", "elements", "energy_mix", "last_updated"}
)
_FIELDS_2_2_1: Final = _FIELDS_2_1_1 | {
    "country_code",
    "party_id",
    "type",
    "min_price",
    "max_price",
    "start_date_time",
    "end_date_time",
}
_FIELDS: Final[Mapping[OcpiVersion, frozenset[str]]] = {
    OcpiVersion.V2_1_1: _FIELDS_2_1_1,
    OcpiVersion.V2_2_1: _FIELDS_2_2_1,
    OcpiVersion.V2_3_0: _FIELDS_2_2_1 | {"tax_included", "preauthorize_amount"},
}
_TAX_MODES: Final = frozenset(mode.value for mode in TaxMode)
_COMPONENT_FIELDS: Final = frozenset({"type", "price", "vat", "step_size"})
_ELEMENT_FIELDS: Final = frozenset({"price_components", "restrictions"})


def recognize_tariff(raw: bytes) -> OcpiVersion:
    """The OCPI version of a tariff, by the fields that only that version has.

    `tax_included` is 2.3.0's alone; `country_code` came with 2.2. Raises MalformedDocumentError.
    """
    wire = document.decode(_DECODER, raw, document=DOCUMENT)
    limits = (wire.min_price, wire.max_price)
    if wire.tax_included is not None or any(limit and limit.before_taxes is not None for limit in limits):
        return OcpiVersion.V2_3_0
    has_later = wire.country_code or wire.party_id or any(limits)
    return OcpiVersion.V2_2_1 if has_later or _has_vat(wire) else OcpiVersion.V2_1_1


def _has_vat(wire: _WireTariff) -> bool:
    return any(
        component.vat is not None for element in wire.elements for component in element.price_components
    )


def parse_tariff(raw: bytes, *, version: OcpiVersion) -> Tariff:
    """Read the JSON of one Tariff object.

    Unknown fields and enum values are kept in the snapshot and named in `notes`. Raises
    MalformedDocumentError (what, JSON path, what is expected) and UnknownCurrencyError.
    Source: OCPI mod_tariffs, Tariff object; 2.3.0 adds tax_included and PriceLimit.
    """
    wire = document.decode(_DECODER, raw, document=DOCUMENT)
    tree = document.load(raw, document=DOCUMENT)
    notes = _unknown_fields(tree, version)
    exponent(wire.currency)
    elements = tuple(
        _element(element, path=f"$.elements[{place}]", tree=tree["elements"][place], notes=notes)
        for place, element in enumerate(wire.elements)
    )
    if not any(element.components for element in elements):
        notes.append(_note(NoteCode.TARIFF_EMPTY, "$.elements", "the tariff has no price component at all"))
    return Tariff(
        version=version,
        country_code=wire.country_code,
        party_id=wire.party_id,
        id=wire.id,
        currency=wire.currency,
        type=wire.type,
        alt_texts=tuple((text.language, text.text) for text in wire.tariff_alt_text or ()),
        alt_url=wire.tariff_alt_url,
        min_price=_limit(wire.min_price, "min_price", version, notes),
        max_price=_limit(wire.max_price, "max_price", version, notes),
        preauthorize_amount=_optional_number(wire.preauthorize_amount, "$.preauthorize_amount"),
        tax_mode=_tax_mode(wire, version, notes),
        elements=elements,
        start=read_time(wire.start_date_time, document=DOCUMENT, path="$.start_date_time"),
        end=read_time(wire.end_date_time, document=DOCUMENT, path="$.end_date_time"),
        notes=tuple(notes),
    )


def freeze(raw: bytes, *, version: OcpiVersion) -> TariffSnapshot:
    """Freeze a tariff: the canonical JSON that will price its sessions for ever, and its hash.

    The tariff is read in full first, so that a snapshot always prices. Raises what parse_tariff raises.
    """
    tariff = parse_tariff(raw, version=version)
    content = document.canonical(document.load(raw, document=DOCUMENT), document=DOCUMENT)
    return TariffSnapshot(
        version=version,
        canonical=content,
        sha256=document.fingerprint(content),
        tariff_id=tariff.id,
        country_code=tariff.country_code,
        party_id=tariff.party_id,
        currency=tariff.currency,
    )


def _note(code: NoteCode, path: str, text: str, severity: NoteSeverity = NoteSeverity.WARNING) -> Note:
    return Note(code=code, severity=severity, path=path, text=text)


def _optional_number(value: Decimal | None, path: str) -> Decimal | None:
    return None if value is None else document.check_number(value, document=DOCUMENT, path=path)


def _element(wire: _WireElement, *, path: str, tree: Mapping[str, Any], notes: list[Note]) -> TariffElement:
    restrictions = None
    if wire.restrictions is not None:
        at = f"{path}.restrictions"
        sent = tree["restrictions"].items()
        unknown = tuple(name for name, value in sent if name not in RESTRICTION_FIELDS and value is not None)
        for name in unknown:
            text = (
                "is not a restriction of OCPI and can't be evaluated; the element is kept and never applies"
            )
            notes.append(_note(NoteCode.UNKNOWN_RESTRICTION, f"{at}.{name}", text))
        restrictions = read_restrictions(wire.restrictions, path=at, notes=notes, unknown=unknown)
    return TariffElement(
        components=tuple(
            _component(component, path=f"{path}.price_components[{place}]", notes=notes)
            for place, component in enumerate(wire.price_components)
        ),
        restrictions=restrictions,
    )


def _component(wire: _WireComponent, *, path: str, notes: list[Note]) -> PriceComponent:
    dimension = Dimension(wire.type) if wire.type in Dimension.__members__ else None
    if dimension is None:
        text = f"a price component of type {wire.type!r} is kept and never priced"
        notes.append(_note(NoteCode.UNKNOWN_COMPONENT_TYPE, f"{path}.type", text))
    vat = _optional_number(wire.vat, f"{path}.vat")
    if vat is not None and vat < 0:
        raise MalformedDocumentError(
            document=DOCUMENT, path=f"{path}.vat", problem="expected 0 or more percent"
        )
    return PriceComponent(
        type=wire.type,
        dimension=dimension,
        price=document.check_number(wire.price, document=DOCUMENT, path=f"{path}.price"),
        vat=vat,
        step_size=_step_size(wire, dimension, path=f"{path}.step_size", notes=notes),
    )


def _step_size(wire: _WireComponent, dimension: Dimension | None, *, path: str, notes: list[Note]) -> int:
    if wire.step_size is None:
        if dimension is not Dimension.FLAT:
            text = "step_size is missing; volumes are billed as measured"
            notes.append(_note(NoteCode.STEP_SIZE_MISSING, path, text, NoteSeverity.INFO))
        return 0
    value = document.check_number(wire.step_size, document=DOCUMENT, path=path)
    if value != int(value):
        raise MalformedDocumentError(document=DOCUMENT, path=path, problem="expected a whole number")
    if value < 0:
        notes.append(_note(NoteCode.STEP_SIZE_ODD, path, f"a step_size of {value} is taken as none"))
        return 0
    return int(value)


def _limit(wire: _WireLimit | None, name: str, version: OcpiVersion, notes: list[Note]) -> PriceLimit | None:
    if wire is None:
        return None
    net, gross = (wire.excl_vat, "excl_vat"), (wire.incl_vat, "incl_vat")
    if wire.before_taxes is not None or wire.after_taxes is not None:
        net, gross = (wire.before_taxes, "before_taxes"), (wire.after_taxes, "after_taxes")
    if (gross[1] == "after_taxes") != (version is OcpiVersion.V2_3_0):
        text = f"{name} is written as in another OCPI version ({net[1]}); its amounts are used"
        notes.append(_note(NoteCode.LIMIT_SHAPE, f"$.{name}", text, NoteSeverity.INFO))
    if net[0] is None and gross[0] is None:
        raise MalformedDocumentError(
            document=DOCUMENT, path=f"$.{name}", problem="expected excl_vat (2.2.1) or before_taxes (2.3.0)"
        )
    return PriceLimit(
        excl_vat=_optional_number(net[0], f"$.{name}.{net[1]}"),
        incl_vat=_optional_number(gross[0], f"$.{name}.{gross[1]}"),
    )


def _tax_mode(wire: _WireTariff, version: OcpiVersion, notes: list[Note]) -> TaxMode:
    if version is not OcpiVersion.V2_3_0:
        return TaxMode.EXCLUDED
    path = "$.tax_included"
    if wire.tax_included is None:
        notes.append(
            _note(NoteCode.TAX_MODE_MISSING, path, "tax_included is missing; prices are taken as net")
        )
        return TaxMode.EXCLUDED
    if wire.tax_included not in _TAX_MODES:
        text = f"tax_included {wire.tax_included!r} is unknown; prices are taken as including tax"
        notes.append(_note(NoteCode.UNKNOWN_VALUE, path, text))
        return TaxMode.INCLUDED
    return TaxMode(wire.tax_included)


def _unknown_fields(tree: Mapping[str, Any], version: OcpiVersion) -> list[Note]:
    paths = [f"$.{name}" for name in tree if name not in _FIELDS[version]]
    for place, element in enumerate(tree["elements"]):
        at = f"$.elements[{place}]"
        paths += [f"{at}.{name}" for name in element if name not in _ELEMENT_FIELDS]
        for spot, component in enumerate(element["price_components"]):
            paths += [
                f"{at}.price_components[{spot}].{name}" for name in component if name not in _COMPONENT_FIELDS
            ]
    text = f"is not a field of OCPI {version}; it is kept and does not change the price"
    return [_note(NoteCode.UNKNOWN_FIELD, path, text, NoteSeverity.INFO) for path in paths]
