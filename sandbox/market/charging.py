"""What an operator reports about a session: the OCPI 2.2.1 CDR with its charging periods.

Pure. Owns where a period starts: at each change of activity and at each boundary of the tariff (OCPI 2.2.1,
10.4.6 ChargingPeriod). Volumes are Decimal: kWh with three decimals, hours with two, both exact.
Must not know how a tariff is priced (market/billing.py does, as the operator's own billing).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from sandbox.market.participants import CPO_BY_ID, Cpo, Site
from sandbox.market.plan import STEP_S, PlannedSession
from sandbox.market.tariffs import Boundaries, boundaries, tariff

_STEPS_PER_HOUR: Final = 3600 // STEP_S


@dataclass(frozen=True, slots=True, kw_only=True)
class _Period:
    starts_at: datetime
    dimensions: tuple[tuple[str, Decimal], ...]


def instant(at: datetime) -> str:
    """An OCPI DateTime: UTC, whole seconds, 'Z'."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def power_type(site: Site) -> str:
    """The OCPI PowerType of a site's connectors."""
    return "DC" if site.direct_current else "AC_3_PHASE"


def connector_standard(site: Site) -> str:
    """The OCPI ConnectorType of a site's connectors."""
    return "IEC_62196_T2_COMBO" if site.direct_current else "IEC_62196_T2"


def hours(span: timedelta) -> Decimal:
    """A span in hours, exact because every instant of the market is a multiple of three minutes."""
    return Decimal(int(span.total_seconds()) // STEP_S) / _STEPS_PER_HOUR


def kwh(energy_wh: int) -> Decimal:
    """Watt-hours to kilowatt-hours, exactly."""
    return Decimal(energy_wh).scaleb(-3)


def charge_detail_record(
    session: PlannedSession, *, authorization_reference: str, token_uid: str, contract_id: str
) -> dict[str, Any]:
    """The CDR without its cost, which the operator's billing adds."""
    cpo = CPO_BY_ID[session.site.cpo_id]
    reserved = timedelta(seconds=session.reserved_s)
    parked = session.leaves_at - session.charge_ends_at
    record: dict[str, Any] = {
        "country_code": cpo.country_code,
        "party_id": cpo.party_code,
        "id": session.cdr_id,
        "start_date_time": instant(session.starts_at - reserved),
        "end_date_time": instant(session.leaves_at),
        "session_id": session.ref,
        "cdr_token": {
            "country_code": cpo.country_code,
            "party_id": cpo.party_code,
            "uid": token_uid,
            "type": "APP_USER" if session.vehicle is None else "OTHER",
            "contract_id": contract_id,
        },
        "auth_method": "AUTH_REQUEST",
        "authorization_reference": authorization_reference,
        "cdr_location": _location(session, cpo),
        "currency": cpo.currency,
        "tariffs": [tariff(cpo_id=cpo.party_id, tariff_id=session.site.tariff_id)],
        "charging_periods": [
            {
                "start_date_time": instant(period.starts_at),
                "dimensions": [{"type": kind, "volume": volume} for kind, volume in period.dimensions],
                "tariff_id": session.site.tariff_id,
            }
            for period in _periods(session, cpo)
        ],
        "total_energy": kwh(session.energy_wh),
        "total_time": hours(session.leaves_at - session.starts_at),
        "last_updated": instant(session.completed_hour),
    }
    if parked:
        record["total_parking_time"] = hours(parked)
    return record


def _location(session: PlannedSession, cpo: Cpo) -> dict[str, Any]:
    site = session.site
    return {
        "id": site.site_id,
        "name": site.name,
        "address": site.address,
        "city": site.city,
        "postal_code": site.postal_code,
        "country": cpo.country3,
        "coordinates": {"latitude": site.latitude, "longitude": site.longitude},
        "evse_uid": f"{site.site_id}-{session.stall}",
        "evse_id": session.evse_id,
        "connector_id": "1",
        "connector_standard": connector_standard(site),
        "connector_format": "CABLE",
        "connector_power_type": power_type(site),
    }


def _periods(session: PlannedSession, cpo: Cpo) -> list[_Period]:
    periods = []
    if session.reserved_s:
        reserved = timedelta(seconds=session.reserved_s)
        periods.append(
            _Period(
                starts_at=session.starts_at - reserved, dimensions=(("RESERVATION_TIME", hours(reserved)),)
            )
        )
    meter = _meter(session, boundaries(cpo_id=cpo.party_id, tariff_id=session.site.tariff_id), cpo.time_zone)
    power = Decimal(session.power_w).scaleb(-3)
    for (starts_at, before_wh), (ends_at, after_wh) in pairwise(meter):
        volumes = (("ENERGY", kwh(after_wh - before_wh)), ("TIME", hours(ends_at - starts_at)))
        measured = (("MAX_POWER", power),) if after_wh > before_wh else ()
        periods.append(_Period(starts_at=starts_at, dimensions=volumes + measured))
    if session.leaves_at > session.charge_ends_at:
        parked = hours(session.leaves_at - session.charge_ends_at)
        periods.append(_Period(starts_at=session.charge_ends_at, dimensions=(("PARKING_TIME", parked),)))
    return periods


def _meter(session: PlannedSession, where: Boundaries, time_zone: str) -> list[tuple[datetime, int]]:
    """Meter readings (instant, Wh since the start) at the start, at each boundary inside, and at the end."""
    starts_at, ends_at = session.starts_at, session.charge_ends_at
    span_s = int((ends_at - starts_at).total_seconds())
    cuts = set(_clock_cuts(starts_at, ends_at, where.clock_times, time_zone))
    cuts |= {starts_at + timedelta(seconds=second) for second in where.seconds}
    readings = {
        at: session.energy_wh * int((at - starts_at).total_seconds()) // span_s
        for at in cuts
        if starts_at < at < ends_at
    }
    for threshold_wh in where.energy_wh:
        if 0 < threshold_wh < session.energy_wh:
            step = max(1, threshold_wh * span_s // session.energy_wh // STEP_S)
            readings[starts_at + timedelta(seconds=step * STEP_S)] = threshold_wh
    return sorted(({starts_at: 0} | readings | {ends_at: session.energy_wh}).items())


def _clock_cuts(
    starts_at: datetime, ends_at: datetime, clock_times: tuple[str, ...], time_zone: str
) -> list[datetime]:
    zone = ZoneInfo(time_zone)
    day, last = starts_at.astimezone(zone).date(), ends_at.astimezone(zone).date()
    cuts = []
    while day <= last:
        cuts += [
            datetime.combine(day, time.fromisoformat(clock), tzinfo=zone).astimezone(UTC)
            for clock in clock_times
        ]
        day += timedelta(days=1)
    return cuts
