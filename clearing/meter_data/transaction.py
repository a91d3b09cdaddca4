"""The transaction that a session's records measure: its first and last reading, and the energy between.

Owns: which readings count and when they are complete and fit to be billed. Must not know: keys, CDRs, money.
Source: OCMF specification 1.4.1, tables 2, 7, 10 and 19.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

import msgspec

from clearing.meter_data.findings import MeterCode, MeterFinding
from clearing.meter_data.ocmf import OcmfReading, OcmfRecord
from clearing.meter_data.registers import IMPORT_GROUPS, import_group, in_kwh, last_digit_kwh, register_key
from clearing.pricing.exact import EXACT

BEGIN: Final = "B"
BEGINS: Final = frozenset(BEGIN)
ENDS: Final = frozenset("ELRAP")  # ended; locally, remotely, aborted, by power failure
_EXCEPTION: Final = "X"
_GOOD: Final = "G"
_UNASSIGNED: Final = frozenset({"MISMATCH", "INVALID", "OUTDATED", "UNKNOWN"})
_UNSURE_CLOCKS: Final = frozenset({None, "U", "I"})


class MeasuredTransaction(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the meter measured: the energy in kWh, exactly, and one unit of its last digit.

    `begin_kwh` and `end_kwh` are the register at both ends, `begin` and `end` the readings as signed.
    """

    meter_serial: str
    register: str
    begin: OcmfReading
    end: OcmfReading
    begin_kwh: Decimal
    end_kwh: Decimal
    energy_kwh: Decimal
    last_digit_kwh: Decimal


def check_records(records: Sequence[OcmfRecord]) -> Iterator[MeterFinding]:
    """What is wrong with the records beside each other: their source, their pages, their user."""
    for left, right in pairwise(records):
        if (left.meter_serial, left.gateway_serial) != (right.meter_serial, right.gateway_serial):
            text = f"records of two sources: {left.source or 'none'} and {right.source or 'none'}"
            yield MeterFinding(code=MeterCode.METER_CHANGED, text=text)
        if left.context != right.context or right.page != left.page + 1:
            text = f"page {left.context}{left.page} is followed by {right.context}{right.page}"
            yield MeterFinding(code=MeterCode.PAGINATION_GAP, text=text)
    if any((record.user_level or "").upper() in _UNASSIGNED for record in records):
        text = "the meter could not assign the session to a user; its readings are not affected"
        yield MeterFinding(code=MeterCode.USER_UNASSIGNED, text=text, note=True)


def measure(
    records: Sequence[OcmfRecord], *, time_priced: bool = False
) -> tuple[MeasuredTransaction | None, tuple[MeterFinding, ...]]:
    """The transaction of records in the order of their pages, or None; and why it may not be billed."""
    by_register: dict[str, list[OcmfReading]] = {}
    for record in records:
        for reading in record.readings:
            if import_group(reading.register) is not None:
                by_register.setdefault(register_key(reading.register or ""), []).append(reading)
    if any(reading.reason == _EXCEPTION for record in records for reading in record.readings):
        text = "the meter reported an error; energy and time are not usable from there on"
        return None, (MeterFinding(code=MeterCode.CHARGING_ERROR, text=text),)
    if not by_register:
        text = "no reading of imported energy that may be billed"
        return None, (MeterFinding(code=MeterCode.REGISTER_UNFIT, text=text),)
    found = list(by_register.values())
    readings = found[0] if len(found) == 1 else min(found, key=_preference)
    begin, end = _one(readings, BEGINS), _one(readings, ENDS)
    if begin is None or end is None:
        return None, (_incomplete(readings),)
    return _between(records, readings, begin, end, time_priced=time_priced)


def _preference(readings: Sequence[OcmfReading]) -> tuple[bool, int]:
    """A register that is read at both ends comes first, then the better group."""
    whole = _one(readings, BEGINS) is not None and _one(readings, ENDS) is not None
    return not whole, IMPORT_GROUPS.index(import_group(readings[0].register) or IMPORT_GROUPS[-1])


def _one(readings: Sequence[OcmfReading], reasons: frozenset[str]) -> OcmfReading | None:
    """The one reading with such a reason; a later record may repeat it unchanged."""
    found = [reading for reading in readings if reading.reason in reasons]
    if len(found) == 1:
        return found[0]
    same = {(reading.at, reading.value, reading.unit, reading.reason) for reading in found}
    return found[0] if len(same) == 1 else None


def _incomplete(readings: Sequence[OcmfReading]) -> MeterFinding:
    reasons = "".join(reading.reason or "-" for reading in readings[:20])
    text = f"expected one reading at the begin and one at the end, got {reasons}"
    return MeterFinding(code=MeterCode.TRANSACTION_INCOMPLETE, text=text)


def _between(
    records: Sequence[OcmfRecord],
    readings: Sequence[OcmfReading],
    begin: OcmfReading,
    end: OcmfReading,
    *,
    time_priced: bool,
) -> tuple[MeasuredTransaction | None, tuple[MeterFinding, ...]]:
    findings = list(_states(readings, time_priced=time_priced))
    first, last = _kwh(begin), _kwh(end)
    if first is None or last is None or begin.value is None or end.value is None or begin.unit != end.unit:
        text = "the readings at both ends are not numbers in one unit, kWh or Wh"
        return None, (*findings, MeterFinding(code=MeterCode.REGISTER_UNFIT, text=text))
    if last < first:
        text = f"the register fell from {first:f} to {last:f} kWh"
        findings.append(MeterFinding(code=MeterCode.READING_BACKWARDS, text=text))
    measured = MeasuredTransaction(
        meter_serial=records[0].source,
        register=(begin.register or "").strip(),
        begin=begin,
        end=end,
        begin_kwh=first,
        end_kwh=last,
        energy_kwh=EXACT.subtract(last, first),
        last_digit_kwh=max(last_digit_kwh(begin.value, begin.unit), last_digit_kwh(end.value, end.unit)),
    )
    return measured, tuple(findings)


def _kwh(reading: OcmfReading) -> Decimal | None:
    return None if reading.value is None else in_kwh(reading.value, reading.unit)


def _states(readings: Sequence[OcmfReading], *, time_priced: bool) -> Iterator[MeterFinding]:
    """What the meter said of itself at the readings that are used."""
    states = {reading.status for reading in readings} - {_GOOD}
    if states:
        shown = ", ".join(sorted(state or "none" for state in states))[:40]
        yield MeterFinding(code=MeterCode.METER_STATE, text=f"the meter's state is not G but {shown}")
    errors = "".join(reading.errors for reading in readings)
    if "E" in errors:
        yield MeterFinding(code=MeterCode.ENERGY_UNUSABLE, text="the meter marks the energy as not usable")
    if "t" in errors:
        text = "the meter marks the time as not usable"
        yield MeterFinding(code=MeterCode.TIME_UNUSABLE, text=text, note=not time_priced)
    ends = [reading.clock for reading in readings if reading.reason in ENDS]
    if time_priced and any(clock in _UNSURE_CLOCKS for clock in ends):
        text = "time is priced, and the meter's clock was neither synchronized nor relative at the end"
        yield MeterFinding(code=MeterCode.TIME_UNSYNCHRONISED, text=text, note=True)
