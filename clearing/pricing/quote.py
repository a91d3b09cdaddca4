"""An estimate before the start: what an expected session would cost, and the hold that this implies.

Owns: the expected session as charging periods, and the hold. Must not know: who pays, any clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from clearing.errors import InvalidAmountError
from clearing.money import Rounding, round_units, to_minor
from clearing.pricing.cdr import Cdr, Period, Quantity
from clearing.pricing.engine import price
from clearing.pricing.exact import EXACT
from clearing.pricing.ocpi_version import as_utc
from clearing.pricing.priced import PricedSession
from clearing.pricing.program import PricingProgram
from clearing.pricing.restrictions import DAY_SECONDS
from clearing.pricing.timeline import resolve_zone

MAX_DURATION_S: Final = 31 * DAY_SECONDS
MAX_ENERGY_WH: Final = 10_000_000
KWH_PER_WH: Final = Decimal("0.001")
WATTS_PER_KW: Final = Decimal(1000)
VOLTS: Final = Decimal(230)  # of one phase: OCPI's currents are sums over the phases
HOUR_S: Final = Decimal(3600)
MICROSECONDS: Final = 1_000_000
HOUR_US: Final = HOUR_S * MICROSECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRequest:
    """An expected session: `energy_wh` over `duration_s` of charging from `start` (aware), then `parking_s`.

    `time_zone` is the location's; `max_power_w` the most its connector gives, None where that is not known.
    Raises InvalidAmountError on a negative or absurd amount and on a naive time.
    """

    energy_wh: int
    duration_s: int
    start: datetime
    time_zone: str
    max_power_w: int | None = None
    parking_s: int = 0

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise InvalidAmountError("a quote's start needs a time zone")
        if not 0 <= self.energy_wh <= MAX_ENERGY_WH:
            raise InvalidAmountError(f"{self.energy_wh} Wh is outside 0 to {MAX_ENERGY_WH}")
        if self.energy_wh and not self.duration_s:
            raise InvalidAmountError("energy without duration: duration_s must be above 0")
        for name, seconds in (("duration_s", self.duration_s), ("parking_s", self.parking_s)):
            if not 0 <= seconds <= MAX_DURATION_S:
                raise InvalidAmountError(f"{name} {seconds} is outside 0 to {MAX_DURATION_S}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The expected price, and `hold_minor`, the amount to reserve for it in minor units of `currency`."""

    priced: PricedSession
    hold_minor: int
    currency: str


def quote(program: PricingProgram, request: QuoteRequest) -> Quote:
    """Price an expected session, charging evenly, split where the tariff changes its price.

    Where power or current decides the price, it is priced at the connector's full power too, and the hold
    covers the dearer of the two. A tariff that names an amount to preauthorize (2.3.0 payments,
    preauthorize_amount) decides the hold itself.
    """
    expected = price(program, _session(program, request, _average_kw(request)), time_zone=request.time_zone)
    hold = expected.incl_vat_minor
    if (program.demand.power or program.demand.current) and request.max_power_w is not None:
        full = Decimal(request.max_power_w) * KWH_PER_WH
        fast = price(program, _session(program, request, full), time_zone=request.time_zone)
        hold = max(hold, fast.incl_vat_minor)
    if program.preauthorize_amount is not None:
        hold = to_minor(program.preauthorize_amount, program.currency, rounding=Rounding.CEILING)
    return Quote(priced=expected, hold_minor=max(hold, 0), currency=program.currency)


def _average_kw(request: QuoteRequest) -> Decimal | None:
    if not request.duration_s:
        return None
    energy = Decimal(request.energy_wh) * KWH_PER_WH
    average = EXACT.divide(EXACT.multiply(energy, HOUR_S), Decimal(request.duration_s))
    if request.max_power_w is None:
        return average
    return min(average, Decimal(request.max_power_w) * KWH_PER_WH)


def _session(program: PricingProgram, request: QuoteRequest, power_kw: Decimal | None) -> Cdr:
    charged_us = request.duration_s * MICROSECONDS
    end_us = charged_us + request.parking_s * MICROSECONDS
    edges = sorted({0, charged_us, *_changes(program, request, end_us)})
    periods = [
        _period(request, since, until, power_kw)
        for since, until in zip(edges, [*edges[1:], end_us], strict=True)
        if until > since or since == 0
    ]
    return Cdr(
        version=program.version,
        id="quote",
        country_code=program.country_code,
        party_id=program.party_id,
        session_id=None,
        authorization_reference=None,
        auth_id=None,
        auth_method=None,
        contract_id=None,
        token_type=None,
        currency=program.currency,
        start=as_utc(request.start),
        end=as_utc(request.start) + timedelta(microseconds=end_us),
        periods=tuple(periods),
        location_id=None,
        evse_uid=None,
        evse_id=None,
        connector_id=None,
        country=None,
        time_zone=None,
        total_cost=None,
        total_energy_kwh=None,
        total_time_h=None,
        total_parking_time_h=None,
        credit=False,
        credit_reference_id=None,
        tariffs_raw=(),
        last_updated=None,
    )


def _period(request: QuoteRequest, since_us: int, until_us: int, power_kw: Decimal | None) -> Period:
    hours = EXACT.divide(Decimal(until_us - since_us), HOUR_US)
    start = as_utc(request.start) + timedelta(microseconds=since_us)
    if since_us >= request.duration_s * MICROSECONDS and until_us > since_us:
        return Period(start=start, dimensions=(Quantity("PARKING_TIME", hours),))
    energy = _energy_kwh(request, until_us) - _energy_kwh(request, since_us)
    found = [Quantity("ENERGY", energy), Quantity("TIME", hours)]
    if power_kw is not None:
        current_a = EXACT.divide(power_kw * WATTS_PER_KW, VOLTS)
        found += [Quantity("MIN_POWER", power_kw), Quantity("MAX_POWER", power_kw)]
        found += [Quantity("MIN_CURRENT", current_a), Quantity("MAX_CURRENT", current_a)]
    return Period(start=start, dimensions=tuple(found))


def _energy_kwh(request: QuoteRequest, after_us: int) -> Decimal:
    """The energy charged so long after the start, in whole watt-hours, so that parts sum to the whole."""
    charged_us = request.duration_s * MICROSECONDS
    if not charged_us:
        return Decimal(0)
    return Decimal(request.energy_wh * min(after_us, charged_us) // charged_us) * KWH_PER_WH


def _changes(program: PricingProgram, request: QuoteRequest, end_us: int) -> Iterator[int]:
    """Microseconds after the start at which a bound of the tariff is met while the car is there."""
    bounds = program.bounds
    yield from (bound_us for bound_us in bounds.elapsed_us if 0 < bound_us < end_us)
    for kwh in bounds.kwh:
        if 0 < kwh * 1000 < request.energy_wh:
            reached = kwh * 1000 * request.duration_s * MICROSECONDS / request.energy_wh
            yield round_units(reached, rounding=Rounding.CEILING)
    if bounds.clock:
        yield from _clock_changes(program, request, end_us)


def _clock_changes(program: PricingProgram, request: QuoteRequest, end_us: int) -> Iterator[int]:
    zone = resolve_zone(request.time_zone)
    start = as_utc(request.start)
    midnight = start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for day in range(2 + end_us // (DAY_SECONDS * MICROSECONDS)):
        for second in program.bounds.clock:
            wall = midnight + timedelta(days=day, seconds=second)
            for fold in (0, 1):  # the double hour of autumn passes a time of day twice
                moment = as_utc(wall.replace(tzinfo=zone, fold=fold))
                after_us = (moment - start) // timedelta(microseconds=1)
                if 0 < after_us < end_us:
                    yield after_us
