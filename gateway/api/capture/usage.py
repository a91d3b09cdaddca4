"""A canonical CDR from metered usage, for partners that speak no OCPI.

Owns: which CDR a usage is. Must not know prices: the CDR carries no totals, so the frozen tariff alone
decides. The same usage of the same session is the same CDR, byte for byte, and its id is the session's.
Source: OCPI 2.2.1 mod_cdrs (CDR, ChargingPeriod, CdrDimension: ENERGY in kWh, TIME and PARKING_TIME in
hours).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

import msgspec

from gateway.api import problems
from gateway.api.problems import FieldError, ProblemError
from gateway.ids import format_id
from gateway.payments.complete import USAGE_CDR
from gateway.payments.records import SessionRecord

_MAX_LENGTH: Final = timedelta(days=30)
_HOUR: Final = timedelta(hours=1)
_EXACT: Final = Context(prec=34, rounding=ROUND_HALF_EVEN)
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was metered: energy in Wh, time parked without charging at the end in seconds."""

    started_at: datetime
    ended_at: datetime
    energy_wh: int
    parking_s: int


def cdr_of_usage(session: SessionRecord, usage: Usage) -> bytes:
    """The JSON of the CDR that `usage` of `session` is.

    Raises:
        ProblemError: `invalid_parameters` when the times contradict each other.
    """
    _check(usage)
    charged_until = usage.ended_at - timedelta(seconds=usage.parking_s)
    periods = [
        _period(
            usage.started_at, [("ENERGY", _kwh(usage)), ("TIME", _hours(charged_until - usage.started_at))]
        )
    ]
    if usage.parking_s:
        periods.append(_period(charged_until, [("PARKING_TIME", _hours(usage.ended_at - charged_until))]))
    return _encoder.encode(
        {
            "id": f"{USAGE_CDR}{format_id('ses', session.id)}",
            "start_date_time": _instant(usage.started_at),
            "end_date_time": _instant(usage.ended_at),
            "session_id": session.session_ref or format_id("ses", session.id),
            "authorization_reference": format_id("ses", session.id),
            "auth_method": "COMMAND",
            "cdr_location": {
                "id": session.location_id,
                "evse_id": session.evse_id,
                "time_zone": session.time_zone,
            },
            "currency": session.currency,
            "charging_periods": periods,
            "total_energy": _kwh(usage),
            "total_time": _hours(usage.ended_at - usage.started_at),
            "total_parking_time": _hours(usage.ended_at - charged_until),
            "last_updated": _instant(usage.ended_at),
        }
    )


def _period(start: datetime, dimensions: list[tuple[str, Decimal]]) -> dict[str, Any]:
    return {
        "start_date_time": _instant(start),
        "dimensions": [{"type": kind, "volume": volume} for kind, volume in dimensions],
    }


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _kwh(usage: Usage) -> Decimal:
    return Decimal(usage.energy_wh).scaleb(-3, _EXACT)


def _hours(span: timedelta) -> Decimal:
    micros = span // timedelta(microseconds=1)
    hours = _EXACT.divide(Decimal(micros), Decimal(_HOUR // timedelta(microseconds=1)))
    return hours.quantize(Decimal("0.000000001"), context=_EXACT)


def _check(usage: Usage) -> None:
    length = usage.ended_at - usage.started_at
    if not timedelta(0) <= length <= _MAX_LENGTH:
        raise _wrong("/usage/ended_at", "a time after started_at and within 30 days of it")
    if timedelta(seconds=usage.parking_s) > length:
        raise _wrong("/usage/parking_s", "no more than the time from started_at to ended_at")


def _wrong(pointer: str, expected: str) -> ProblemError:
    return ProblemError(
        problems.INVALID_PARAMETERS,
        f"{pointer}: expected {expected}.",
        errors=[FieldError(pointer=pointer, expected=expected)],
    )
