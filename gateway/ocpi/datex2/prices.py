"""A public tariff as the prices of a DATEX II energy rate.

Owns: which components become which price. Must not know: locations, files, SQL.
Source: DATEX II profile AFIR Energy Infrastructure 01-00-00, EnergyPrice: all prices of a rate apply together
("AND") within their applicability, while of OCPI's elements the first that matches prices a dimension
(mod_tariffs). So a dimension is written only where the prices that apply now can be separated by whole
kilowatt-hours or whole minutes; else it stands in words alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from clearing.pricing.explain import adds_tax, component_text, shown_price
from clearing.pricing.restrictions import Phase, Restrictions
from clearing.pricing.tariff import Dimension, PriceComponent, Tariff, TariffElement, TaxMode

# AFIR art. 5(4): per kWh, per minute, per session, others. A minute parked is not a minute of charging.
_PRICE_TYPES: Final = {
    Dimension.ENERGY: "pricePerKWh",
    Dimension.TIME: "pricePerMinute",
    Dimension.FLAT: "basePrice",
    Dimension.PARKING_TIME: "other",
}
_SECONDS_PER_MINUTE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A component that may price its dimension now, with the span of kWh or minutes in which it does."""

    element: TariffElement
    component: PriceComponent
    low: Decimal
    high: Decimal | None

    def covers(self, value: Decimal) -> bool:
        return self.low <= value and (self.high is None or value < self.high)


def energy_prices(tariff: Tariff, *, at: datetime, language: str) -> tuple[list[dict[str, Any]], bool]:
    """The prices of a session that starts at `at`, and whether every dimension could be written.

    Args:
        tariff: in force at `at`.
        at: aware, in the time zone of the charge point.
        language: ISO 639-1, of the words beside a price.
    """
    written: list[dict[str, Any]] = []
    whole = True
    for dimension in _PRICE_TYPES:
        candidates, axis = _candidates(tariff, dimension, at=at)
        if candidates is None:
            whole = False
            continue
        written += [
            _price(tariff, candidate, axis=axis, language=language) for candidate in _apart(candidates)
        ]
    return written, whole


def _candidates(tariff: Tariff, dimension: Dimension, *, at: datetime) -> tuple[list[_Candidate] | None, str]:
    """The components of a dimension that apply now, until one applies always; None where words must do."""
    found: list[_Candidate] = []
    axes: set[str] = set()
    for element in tariff.elements:
        rules = element.restrictions
        if rules is not None and (
            rules.phase is not Phase.SESSION or rules.unknown or not _is_now(rules, at)
        ):
            continue
        component = next((one for one in element.components if one.dimension is dimension), None)
        if component is None:
            continue
        if rules is None or not _is_tier(rules):
            found.append(_Candidate(element=element, component=component, low=Decimal(0), high=None))
            break
        span = _span(rules)
        if span is None:
            return None, ""
        axis, low, high = span
        axes.add(axis)
        found.append(_Candidate(element=element, component=component, low=low, high=high))
    if len(axes) > 1:
        return None, ""
    return found, next(iter(axes), "")


def _is_now(rules: Restrictions, at: datetime) -> bool:
    """Whether date, weekday and time of day let an element apply."""
    if rules.start_date is not None and at.date() < rules.start_date:
        return False
    if rules.end_date is not None and at.date() >= rules.end_date:
        return False
    if rules.weekdays is not None and at.weekday() not in rules.weekdays:
        return False
    start, end = rules.start_second, rules.end_second
    if start is None or end is None:
        return True
    second = at.hour * 3600 + at.minute * 60 + at.second
    return start <= second < end if start <= end else second >= start or second < end


def _is_tier(rules: Restrictions) -> bool:
    return any(
        value is not None
        for value in (
            rules.min_kwh,
            rules.max_kwh,
            rules.min_duration,
            rules.max_duration,
            rules.min_power,
            rules.max_power,
            rules.min_current,
            rules.max_current,
        )
    )


def _span(rules: Restrictions) -> tuple[str, Decimal, Decimal | None] | None:
    """The one span of whole kWh or whole minutes in which an element applies; None where it is another."""
    powers = (rules.min_power, rules.max_power, rules.min_current, rules.max_current)
    kwh, duration = (rules.min_kwh, rules.max_kwh), (rules.min_duration, rules.max_duration)
    if any(value is not None for value in powers) or (kwh != (None, None) and duration != (None, None)):
        return None
    if kwh != (None, None):
        axis, low, high = "energyBasedApplicability", kwh[0] or Decimal(0), kwh[1]
    else:
        low = (duration[0] or Decimal(0)) / _SECONDS_PER_MINUTE
        high = None if duration[1] is None else duration[1] / _SECONDS_PER_MINUTE
        axis = "timeBasedApplicability"
    if any(value is not None and value != value.to_integral_value() for value in (low, high)):
        return None
    return axis, low, high


def _apart(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The candidates without overlap: of each span the first that covers it, neighbors of one joined."""
    ends = {candidate.high for candidate in candidates if candidate.high is not None}
    edges = sorted({Decimal(0)} | {candidate.low for candidate in candidates} | ends)
    spans: list[_Candidate] = []
    for low, high in zip(edges, [*edges[1:], None], strict=True):
        first = next((candidate for candidate in candidates if candidate.covers(low)), None)
        if first is None:
            continue
        last = spans[-1] if spans else None
        if last is not None and last.high == low and last.component is first.component:
            low = last.low  # noqa: PLW2901 - the span grows
            spans.pop()
        spans.append(_Candidate(element=first.element, component=first.component, low=low, high=high))
    return spans


def _price(tariff: Tariff, candidate: _Candidate, *, axis: str, language: str) -> dict[str, Any]:
    component = candidate.component
    price: dict[str, Any] = {
        "priceType": {"value": _PRICE_TYPES[component.dimension or Dimension.FLAT]},
        "value": shown_price(tariff, component),
    }
    if component.vat or tariff.tax_mode is TaxMode.INCLUDED:
        price["taxIncluded"] = True
    elif component.price and component.vat is None and adds_tax(tariff):
        price["taxIncluded"] = False
    if component.vat is not None:
        price["taxRate"] = component.vat
    if component.step_size > 1 or component.dimension is Dimension.PARKING_TIME:
        words = component_text(tariff, candidate.element, component, locale=language)
        price["additionalInformation"] = in_language(words, language)
    if axis and (candidate.low or candidate.high is not None):
        unit = "KWh" if axis == "energyBasedApplicability" else "Minute"
        price[axis] = {f"from{unit}": int(candidate.low)}
        if candidate.high is not None:
            price[axis][f"to{unit}"] = int(candidate.high)
    return price


def in_language(text: str, language: str) -> dict[str, Any]:
    """A MultilingualString of one language."""
    return {"values": [{"lang": language, "value": text}]}
