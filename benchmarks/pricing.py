"""Reading and pricing CDRs on one core, against decoding the same bytes to Decimals and doing nothing.

The tariff is of the shape of OCPI's complex example: a flat fee, time by current and weekday, parking by the
clock. The CDR carries a location and a token as a real one does. Memory is measured over a batch of lines.
"""

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from benchmarks.table import Row, rate
from clearing.pricing.cdr import parse_cdr
from clearing.pricing.embedded import compile_raw
from clearing.pricing.engine import PricingProgram, price
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.cli.price_batch import BatchPricer

VERSION = OcpiVersion.V2_2_1
ZONE = "Europe/Amsterdam"
GOAL_PER_S = 28_000
WEEKDAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]
START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
KIBIBYTE = 1024


def _element(kind: str, amount: float, vat: int, step: int, **rules: object) -> dict[str, Any]:
    component = {"type": kind, "price": amount, "vat": vat, "step_size": step}
    return {"price_components": [component], "restrictions": rules or None}


def _tariff(*elements: dict[str, Any]) -> dict[str, Any]:
    return {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "complex",
        "currency": "EUR",
        "elements": list(elements),
        "last_updated": "2026-01-01T00:00:00Z",
    }


COMPLEX = _tariff(
    _element("FLAT", 2.5, 15, 1),
    _element("TIME", 1.0, 20, 900, max_current=32),
    _element("TIME", 2.0, 20, 600, min_current=32, day_of_week=WEEKDAYS),
    _element("TIME", 1.25, 20, 600, min_current=32, day_of_week=["SATURDAY", "SUNDAY"]),
    _element("PARKING_TIME", 5.0, 10, 300, start_time="09:00", end_time="18:00", day_of_week=WEEKDAYS),
    _element("PARKING_TIME", 6.0, 10, 300, start_time="10:00", end_time="17:00", day_of_week=["SATURDAY"]),
)
SIMPLE = _tariff(_element("FLAT", 0.5, 20, 1), _element("ENERGY", 0.25, 10, 1))


def _cdr(periods: int) -> dict[str, Any]:
    charging = [
        {"type": "ENERGY", "volume": 2.75},
        {"type": "TIME", "volume": 0.25},
        {"type": "MAX_CURRENT", "volume": 16},
    ]
    return {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "CDR-1",
        "session_id": "S-1",
        "authorization_reference": "A-1",
        "auth_method": "AUTH_REQUEST",
        "start_date_time": _text(0),
        "end_date_time": _text(periods),
        "cdr_token": {
            "country_code": "DE",
            "party_id": "PAY",
            "uid": "0123456789",
            "type": "RFID",
            "contract_id": "DE-PAY-1",
        },
        "cdr_location": {
            "id": "LOC1",
            "name": "Market square",
            "address": "Market square 1",
            "city": "Utrecht",
            "postal_code": "3511",
            "country": "NLD",
            "evse_uid": "E1",
            "evse_id": "NL*ABC*E1",
            "coordinates": {"latitude": "52.09", "longitude": "5.12"},
            "connector_id": "1",
            "connector_standard": "IEC_62196_T2",
            "connector_format": "SOCKET",
            "connector_power_type": "AC_3_PHASE",
        },
        "currency": "EUR",
        "charging_periods": [
            {
                "start_date_time": _text(place),
                "tariff_id": "complex",
                "dimensions": charging if place < periods - 1 else [{"type": "PARKING_TIME", "volume": 0.25}],
            }
            for place in range(periods)
        ],
        "total_cost": {"excl_vat": 4.0, "incl_vat": 4.4},
        "total_energy": 2.75 * (periods - 1),
        "total_time": 0.25 * periods,
        "last_updated": _text(periods),
    }


def complex_cdr(periods: int) -> bytes:
    """The JSON of a CDR with as many charging periods."""
    return msgspec.json.encode(_cdr(periods))


def _text(quarters: int) -> str:
    return (START + timedelta(minutes=15 * quarters)).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Quantity(msgspec.Struct):
    type: str
    volume: Decimal


class _Period(msgspec.Struct):
    start_date_time: datetime
    dimensions: list[_Quantity]


class _Bare(msgspec.Struct):
    """The least that a price needs of a CDR."""

    start_date_time: datetime
    end_date_time: datetime
    charging_periods: list[_Period]


_DECODER = msgspec.json.Decoder(_Bare)


def _pricing(raw: bytes, program: PricingProgram) -> Callable[[], object]:
    return lambda: price(program, parse_cdr(raw, version=VERSION), time_zone=ZONE)


def _explaining(raw: bytes, program: PricingProgram) -> Callable[[], object]:
    return lambda: price(program, parse_cdr(raw, version=VERSION), time_zone=ZONE).lines


def _rows(*, quick: bool) -> Iterator[Row]:
    complex_tariff, simple = (
        compile_raw(json.dumps(tariff).encode(), VERSION) for tariff in (COMPLEX, SIMPLE)
    )
    for periods, program, label, goal in (
        (2, simple, "flat + energy", GOAL_PER_S),
        (2, complex_tariff, "complex", GOAL_PER_S),
        (3, complex_tariff, "complex", GOAL_PER_S),
        (4, complex_tariff, "complex", GOAL_PER_S),
        (20, complex_tariff, "complex", None),
    ):
        raw = json.dumps(_cdr(periods)).encode()
        decoded = rate(lambda raw=raw: _DECODER.decode(raw), quick=quick)  # type: ignore[misc]
        priced = rate(_pricing(raw, program), quick=quick)
        yield Row(
            name=f"parse + price, {label} tariff, {periods} periods",
            value=priced,
            unit="CDR/s",
            baseline_name="msgspec decode alone",
            baseline_value=decoded,
            ratio=priced / decoded,
            goal=goal,
        )

    raw = json.dumps(_cdr(3)).encode()
    explained = rate(_explaining(raw, complex_tariff), quick=quick)
    decoded = rate(lambda: _DECODER.decode(raw), quick=quick)
    yield Row(
        name="parse + price + lines, complex tariff, 3 periods",
        value=explained,
        unit="CDR/s",
        baseline_name="msgspec decode alone",
        baseline_value=decoded,
        ratio=explained / decoded,
    )


def _batch_memory(*, quick: bool) -> Row:
    """Peak memory of pricing many lines against that of a tenth of them: flat is a ratio of one."""
    line = json.dumps({"id": "1", "tariff": COMPLEX, "cdr": _cdr(3), "time_zone": ZONE}).encode() + b"\n"
    many = 2_000 if quick else 20_000
    _peak_kib(line, many // 10)  # the interpreter's own caches fill once
    few_kib, many_kib = _peak_kib(line, many // 10), _peak_kib(line, many)
    return Row(
        name=f"peak memory of a batch of {many:,} lines",
        value=many_kib,
        unit="KiB",
        baseline_name=f"of {many // 10:,} lines",
        baseline_value=few_kib,
        ratio=many_kib / few_kib,
    )


class _Lines(io.RawIOBase):
    """A file of equal lines that is never held in memory."""

    def __init__(self, line: bytes, count: int) -> None:
        self._line = line
        self._left = count

    def readline(self, size: int | None = -1, /) -> bytes:  # type: ignore[explicit-override]
        del size
        if not self._left:
            return b""
        self._left -= 1
        return self._line


def _peak_kib(line: bytes, count: int) -> float:
    pricer = BatchPricer(time_zone=None, version=None)
    with open("/dev/null", "wb") as sink:  # noqa: PTH123 - the null device is not a path
        tracemalloc.start()
        pricer.run(_Lines(line, count), sink)  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak / KIBIBYTE


def run(*, quick: bool) -> list[Row]:
    """Rates of reading and pricing, and the memory of a batch."""
    return [*_rows(quick=quick), _batch_memory(quick=quick)]
