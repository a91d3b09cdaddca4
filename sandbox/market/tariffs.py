"""The market's public tariffs in OCPI 2.2.1: one of every kind that the specification works through.

Pure: values in, objects ready for JSON out; prices are Decimal, net of VAT, with the rate beside them
(OCPI 2.2.1, 11.4.2 PriceComponent). Must not know how a tariff is priced; only where its price may change
(`boundaries`), because a CPO starts a new charging period there (OCPI 2.2.1, 10.4.6 ChargingPeriod).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from sandbox.market.participants import CPO_BY_ID, SITES, Cpo

LAST_UPDATED: Final = "2026-10-01T00:00:00Z"
_WEEKDAYS: Final = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY")
_WEEKEND: Final = ("SATURDAY", "SUNDAY")

Element = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundaries:
    """Where a tariff's price may change: local clock times "HH:MM", energy in Wh, seconds since the start."""

    clock_times: tuple[str, ...] = ()
    energy_wh: tuple[int, ...] = ()
    seconds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One kind of tariff: the text for drivers, and its elements given the rate of VAT."""

    text: str
    elements: Callable[[Decimal], list[Element]]
    bounds: tuple[tuple[str, str, str], ...] = ()  # min_price or max_price, net, gross
    boundaries: Boundaries = Boundaries()


def _component(kind: str, price: str, vat: Decimal, *, step: int = 1) -> dict[str, Any]:
    return {"type": kind, "price": Decimal(price), "vat": vat, "step_size": step}


def _element(*components: dict[str, Any], **restrictions: Any) -> Element:
    element: Element = {"price_components": list(components)}
    return element | ({"restrictions": restrictions} if restrictions else {})


def _energy(price: str, *, step: int = 1) -> Callable[[Decimal], list[Element]]:
    return lambda vat: [_element(_component("ENERGY", price, vat, step=step))]


def _energy_and(price: str, *more: tuple[str, str, int]) -> Callable[[Decimal], list[Element]]:
    return lambda vat: [
        _element(
            _component("ENERGY", price, vat),
            *(_component(kind, other, vat, step=step) for kind, other, step in more),
        )
    ]


def _peak_and_weekend(vat: Decimal) -> list[Element]:
    return [
        _element(
            _component("ENERGY", "0.64", vat),
            start_time="17:00",
            end_time="20:00",
            day_of_week=list(_WEEKDAYS),
        ),
        _element(_component("ENERGY", "0.42", vat), day_of_week=list(_WEEKEND)),
        _element(_component("ENERGY", "0.53", vat)),
    ]


def _power_bands(vat: Decimal) -> list[Element]:
    return [
        _element(_component("ENERGY", "0.41", vat), max_power=Decimal(50)),
        _element(_component("ENERGY", "0.49", vat), min_power=Decimal(50), max_power=Decimal(150)),
        _element(_component("ENERGY", "0.58", vat), min_power=Decimal(150)),
    ]


def _reservation(vat: Decimal) -> list[Element]:
    return [
        _element(_component("TIME", "6.00", vat, step=600), reservation="RESERVATION_EXPIRES"),
        _element(_component("TIME", "4.00", vat, step=600), reservation="RESERVATION"),
        _element(_component("FLAT", "0.50", vat), _component("ENERGY", "0.43", vat)),
    ]


def _night(vat: Decimal) -> list[Element]:
    return [
        _element(_component("ENERGY", "0.37", vat), start_time="22:00", end_time="06:00"),
        _element(_component("ENERGY", "0.52", vat)),
    ]


def _first_hour_free(vat: Decimal) -> list[Element]:
    return [
        _element(_component("ENERGY", "0.33", vat), _component("TIME", "0.00", vat), max_duration=3600),
        _element(_component("ENERGY", "0.33", vat), _component("TIME", "1.80", vat, step=60)),
    ]


def _tiers(vat: Decimal) -> list[Element]:
    return [
        _element(_component("ENERGY", "0.66", vat), max_kwh=Decimal(20)),
        _element(_component("ENERGY", "0.54", vat), min_kwh=Decimal(20)),
    ]


def _evening_peak(vat: Decimal) -> list[Element]:
    return [
        _element(_component("ENERGY", "0.61", vat), start_time="16:00", end_time="19:00"),
        _element(_component("ENERGY", "0.45", vat)),
    ]


def _free(vat: Decimal) -> list[Element]:
    del vat  # nothing is taxed
    return [_element({"type": "FLAT", "price": Decimal("0.00"), "step_size": 0})]


_ENERGY_PRICE: Final = {"CH-ALP": "0.45", "FR-LUM": "0.42", "NL-POL": "0.35", "GB-THM": "0.58"}
_KINDS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        "energy-and-parking": _Kind(
            text="Energy, and parking once charging has ended",
            elements=_energy_and("0.48", ("PARKING_TIME", "4.80", 300)),
        ),
        "peak-and-weekend": _Kind(
            text="Dearer on weekday evenings, cheaper on weekends",
            elements=_peak_and_weekend,
            boundaries=Boundaries(clock_times=("00:00", "17:00", "20:00")),
        ),
        "free": _Kind(text="Free of charge", elements=_free),
        "start-fee": _Kind(
            text="A start fee, then energy", elements=_energy_and("0.39", ("FLAT", "0.50", 1))
        ),
        "minimum": _Kind(
            text="Energy, 2.00 net at least",
            elements=_energy("0.37"),
            bounds=(("min_price", "2.00", "2.38"),),
        ),
        "quarter-hours": _Kind(
            text="Time, each quarter of an hour begun",
            elements=lambda vat: [_element(_component("TIME", "4.40", vat, step=900))],
        ),
        "power-bands": _Kind(text="The faster, the dearer", elements=_power_bands),
        "maximum": _Kind(
            text="Energy and time, 12.00 net at most",
            elements=_energy_and("0.40", ("TIME", "1.20", 60)),
            bounds=(("max_price", "12.00", "14.40"),),
        ),
        "reservation": _Kind(text="Reservation by the ten minutes, start fee, energy", elements=_reservation),
        "night": _Kind(
            text="Cheaper from 22:00 to 06:00",
            elements=_night,
            boundaries=Boundaries(clock_times=("06:00", "22:00")),
        ),
        "first-hour-free": _Kind(
            text="Energy; the first hour's time is free",
            elements=_first_hour_free,
            boundaries=Boundaries(seconds=(3600,)),
        ),
        "minimum-and-maximum": _Kind(
            text="Energy, between 3.00 and 25.00 net",
            elements=_energy("0.47"),
            bounds=(("min_price", "3.00", "3.63"), ("max_price", "25.00", "30.25")),
        ),
        "whole-kwh": _Kind(text="Each kWh begun", elements=_energy("0.36", step=1000)),
        "idle-fee": _Kind(
            text="Energy, and a fee for staying plugged in",
            elements=_energy_and("0.56", ("PARKING_TIME", "9.00", 60)),
        ),
        "tiers": _Kind(
            text="Cheaper from the twentieth kWh on",
            elements=_tiers,
            boundaries=Boundaries(energy_wh=(20_000,)),
        ),
        "evening-peak": _Kind(
            text="Dearer from 16:00 to 19:00",
            elements=_evening_peak,
            boundaries=Boundaries(clock_times=("16:00", "19:00")),
        ),
    }
)


def _kind(cpo: Cpo, tariff_id: str) -> _Kind:
    if tariff_id == "energy":
        return _Kind(text="Energy alone", elements=_energy(_ENERGY_PRICE[cpo.party_id]))
    return _KINDS[tariff_id]


def tariff(*, cpo_id: str, tariff_id: str) -> dict[str, Any]:
    """The OCPI 2.2.1 Tariff object, with Decimal prices. Raises KeyError for a name the market has not."""
    cpo = CPO_BY_ID[cpo_id]
    kind = _kind(cpo, tariff_id)
    found: dict[str, Any] = {
        "country_code": cpo.country_code,
        "party_id": cpo.party_code,
        "id": tariff_id,
        "currency": cpo.currency,
        "type": "REGULAR",
        "tariff_alt_text": [{"language": "en", "text": kind.text}],
        "elements": kind.elements(cpo.vat_percent),
        "last_updated": LAST_UPDATED,
    }
    for name, net, gross in kind.bounds:
        found[name] = {"excl_vat": Decimal(net), "incl_vat": Decimal(gross)}
    return found


def boundaries(*, cpo_id: str, tariff_id: str) -> Boundaries:
    """Where a CPO must start a new charging period under this tariff."""
    return _kind(CPO_BY_ID[cpo_id], tariff_id).boundaries


def tariffs_of(cpo_id: str) -> tuple[dict[str, Any], ...]:
    """Every tariff that a CPO's sites carry, in the sites' order."""
    return tuple(tariff(cpo_id=cpo_id, tariff_id=site.tariff_id) for site in SITES if site.cpo_id == cpo_id)
