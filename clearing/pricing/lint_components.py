"""Tariff lint, component by component: prices, steps, limits, tax and validity.

Owns: what is wrong in single fields of a tariff. Must not know: how restrictions act together.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from clearing.pricing.lint_finding import LintCode, LintFinding, warn
from clearing.pricing.notes import NoteSeverity
from clearing.pricing.restrictions import Phase, Restrictions
from clearing.pricing.tariff import Dimension, PriceComponent, Tariff, TariffElement, TaxMode

# Above these a price is more likely a slip of the decimal point; in euros, scaled by a rough rate elsewhere.
_ABSURD: Final = {
    Dimension.ENERGY: Decimal(3),
    Dimension.TIME: Decimal(120),
    Dimension.PARKING_TIME: Decimal(120),
    Dimension.FLAT: Decimal(50),
}
_ROUGH_RATE: Final = {
    "CZK": 25,
    "DKK": 8,
    "HUF": 400,
    "ISK": 150,
    "JPY": 160,
    "NOK": 12,
    "PLN": 5,
    "RON": 5,
    "RSD": 120,
    "SEK": 12,
    "TRY": 45,
    "UAH": 45,
    "INR": 95,
    "CNY": 8,
    "ZAR": 20,
    "MXN": 20,
    "THB": 40,
}
_MAX_STEP_S: Final = 3600
_MAX_STEP_WH: Final = 1000
_MAX_VAT: Final = 100
_OPEN: Final = Restrictions(
    phase=Phase.SESSION,
    start_second=None,
    end_second=None,
    start_date=None,
    end_date=None,
    min_kwh=None,
    max_kwh=None,
    min_current=None,
    max_current=None,
    min_power=None,
    max_power=None,
    min_duration=None,
    max_duration=None,
    weekdays=None,
)


def component_findings(tariff: Tariff) -> Iterator[LintFinding]:
    """What is wrong in the fields of a tariff, each looked at by itself."""
    yield from _prices(tariff)
    yield from _steps(tariff)
    yield from _phases(tariff)
    yield from _limits(tariff)
    yield from _tax(tariff)
    yield from _rates(tariff)
    if tariff.start is not None and tariff.end is not None and tariff.end <= tariff.start:
        text = f"it ends at {tariff.end.isoformat()}, not after its start: it is never in force"
        yield warn(LintCode.VALIDITY_REVERSED, "$.end_date_time", text)


def _components(tariff: Tariff) -> Iterator[tuple[str, TariffElement, PriceComponent]]:
    for place, element in enumerate(tariff.elements):
        for spot, component in enumerate(element.components):
            yield f"$.elements[{place}].price_components[{spot}]", element, component


def _phase(element: TariffElement) -> Phase:
    return Phase.SESSION if element.restrictions is None else element.restrictions.phase


def _prices(tariff: Tariff) -> Iterator[LintFinding]:
    rate = Decimal(_ROUGH_RATE.get(tariff.currency, 1))
    priced = False
    for path, _, component in _components(tariff):
        priced = priced or component.dimension is not None
        if component.dimension is None:
            continue
        if component.price < 0:
            text = f"the price {component.price} is negative: it pays the driver"
            yield warn(LintCode.NEGATIVE_PRICE, f"{path}.price", text)
        elif component.price > _ABSURD[component.dimension] * rate:
            unit = {Dimension.ENERGY: "kWh", Dimension.FLAT: "session"}.get(component.dimension, "hour")
            text = f"{component.price} {tariff.currency} per {unit} looks like a slip"
            yield warn(LintCode.ABSURD_PRICE, f"{path}.price", text)
        largest = _MAX_STEP_WH if component.dimension is Dimension.ENERGY else _MAX_STEP_S
        if component.dimension is not Dimension.FLAT and component.step_size > largest:
            unit = "Wh" if component.dimension is Dimension.ENERGY else "s"
            text = f"up to {component.step_size} {unit} are billed unused"
            yield warn(LintCode.LARGE_STEP, f"{path}.step_size", text)
    if not priced:
        yield warn(LintCode.PRICES_NOTHING, "$.elements", "no component prices anything")


def _limits(tariff: Tariff) -> Iterator[LintFinding]:
    low, high = tariff.min_price, tariff.max_price
    for name, limit in (("min_price", low), ("max_price", high)):
        if limit is None or limit.excl_vat is None or limit.incl_vat is None:
            continue
        if limit.incl_vat < limit.excl_vat:
            text = f"{name} is lower with tax ({limit.incl_vat}) than without ({limit.excl_vat})"
            yield warn(LintCode.LIMITS_CROSS, f"$.{name}", text)
    if low is None or high is None:
        return
    for lowest, highest in ((low.excl_vat, high.excl_vat), (low.incl_vat, high.incl_vat)):
        if lowest is not None and highest is not None and lowest > highest:
            text = f"the minimum {lowest} is above the maximum {highest}; the maximum wins"
            yield warn(LintCode.LIMITS_CROSS, "$.min_price", text)


def _tax(tariff: Tariff) -> Iterator[LintFinding]:
    if tariff.tax_mode is TaxMode.NOT_APPLICABLE:
        return
    paid = [
        (f"$.elements[{place}].price_components[{spot}]", component)
        for place, element in enumerate(tariff.elements)
        for spot, component in enumerate(element.components)
        if component.dimension is not None and component.price
    ]
    unstated = [path for path, component in paid if component.vat is None]
    for path in unstated:
        text = "no VAT rate is stated, so the price that the driver pays can't be shown from the tariff alone"
        yield warn(LintCode.TAX_UNSTATED, path, text, NoteSeverity.INFO)
    if unstated and len(unstated) < len(paid):
        text = "some components state a VAT rate and others none; an unstated rate is billed without VAT"
        yield warn(LintCode.TAX_MIXED, "$.elements", text)


def _steps(tariff: Tariff) -> Iterator[LintFinding]:
    """Steps that nothing is ever rounded by (mod_tariffs, PriceComponent; mod_cdrs, step_size)."""
    parking = any(component.dimension is Dimension.PARKING_TIME for _, _, component in _components(tariff))
    for path, element, component in _components(tariff):
        at = f"{path}.step_size"
        if component.step_size == 0 and component.dimension not in {None, Dimension.FLAT}:
            text = "no quantity is a multiple of 0; it is billed as used, which is a step of 1"
            yield warn(LintCode.STEP_ZERO, at, text)
        if component.step_size <= 1:
            continue
        if component.dimension is Dimension.FLAT:
            text = f"a flat fee has no unit to bill in steps of {component.step_size}"
            yield warn(LintCode.STEP_WITHOUT_EFFECT, at, text)
        elif component.dimension is Dimension.TIME and parking and _phase(element) is Phase.SESSION:
            text = "a session that is priced by PARKING_TIME as well has only that time rounded up to a step"
            yield warn(LintCode.STEP_WITHOUT_EFFECT, at, text, NoteSeverity.INFO)


def _phases(tariff: Tariff) -> Iterator[LintFinding]:
    """Prices that a reservation can't have, restrictions that are empty, prices that ignore use."""
    for place, element in enumerate(tariff.elements):
        if element.restrictions == _OPEN:
            text = "it restricts nothing: leave it out, or say what it was meant to restrict"
            yield warn(LintCode.RESTRICTS_NOTHING, f"$.elements[{place}].restrictions", text)
    for path, element, component in _components(tariff):
        reserved = _phase(element) in {Phase.RESERVATION, Phase.RESERVATION_EXPIRES}
        if reserved and component.dimension in {Dimension.ENERGY, Dimension.PARKING_TIME}:
            text = f"a reservation has FLAT and TIME only, {component.type} can't apply (mod_tariffs)"
            yield warn(LintCode.NOT_RESERVABLE, path, text)
    session = [component for _, element, component in _components(tariff) if _phase(element) is Phase.SESSION]
    if any(component.price > 0 for component in session) and not any(
        component.dimension in {Dimension.ENERGY, Dimension.TIME} for component in session
    ):
        text = "neither energy nor time is priced: every session costs the same however much it takes"
        yield warn(LintCode.NOT_BY_USE, "$.elements", text, NoteSeverity.INFO)


def _rates(tariff: Tariff) -> Iterator[LintFinding]:
    """VAT rates that are no percentages, and taxes that can't be taken out of the prices."""
    stated = [
        (path, component.vat) for path, _, component in _components(tariff) if component.vat is not None
    ]
    for path, vat in stated:
        if vat > _MAX_VAT:
            text = f"a VAT rate of {vat} is above 100 percent"
            yield warn(LintCode.VAT_IMPLAUSIBLE, f"{path}.vat", text)
        elif 0 < vat < 1:
            text = f"a VAT rate of {vat} percent looks like a fraction; vat is a percentage, such as 20"
            yield warn(LintCode.VAT_IMPLAUSIBLE, f"{path}.vat", text)
    if tariff.tax_mode is TaxMode.INCLUDED and not stated:
        text = "prices include tax and no rate is stated: the tariff does not show the price without tax"
        yield warn(LintCode.TAX_NOT_SEPARABLE, "$.tax_included", text, NoteSeverity.INFO)
