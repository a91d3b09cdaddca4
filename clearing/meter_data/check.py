"""The check of signed meter data: records, keys, signatures, readings, and what the CDR says of them.

Owns: the steps and their order, and the binding of the signed energy to the CDR. Must not know: where keys
are kept, what a policy makes of the verdict, prices. Pure: the same input gives the same verdict.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import msgspec

from clearing.meter_data.findings import MeterCode, MeterFinding, MeterVerdict, verdict_of
from clearing.meter_data.keys import MeterKey, key_of_der, read_key
from clearing.meter_data.ocmf import OcmfReading, OcmfRecord, read_record
from clearing.meter_data.registered_key import RegisteredKey, identity_of, keys_for
from clearing.meter_data.signature import check_version, curve_of, verify_record
from clearing.meter_data.signed_data import MeterFormat, SignedMeterData
from clearing.meter_data.transaction import MeasuredTransaction, check_records, measure
from clearing.pricing.cdr import Cdr
from clearing.pricing.exact import EXACT

TIME_TOLERANCE: Final = timedelta(seconds=60)
_ENERGY: Final = "ENERGY"
_SURE_CLOCKS: Final = frozenset({"S", "R"})
_SEPARATORS: Final = re.compile(r"[^0-9a-z]+")
_EVSE_ID: Final = re.compile(r"[a-z]{2}[0-9a-z]{3}e[0-9a-z]{1,31}")  # ISO 15118, without separators


class CdrFacts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a CDR says of its session, to be compared with what the meter signed. Energy in kWh."""

    total_energy_kwh: Decimal | None
    energy_volumes_kwh: Decimal | None
    started_at: datetime
    ended_at: datetime
    evse_id: str | None
    evse_uid: str | None
    token_uid: str | None


class MeterCheck(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The verdict on a CDR's signed meter data, and all that it rests on.

    `key_id` is the registered key that verified it; None where the CDR's own key did, or none.
    """

    verdict: MeterVerdict
    findings: tuple[MeterFinding, ...] = ()
    records: tuple[OcmfRecord, ...] = ()
    measured: MeasuredTransaction | None = None
    key_id: UUID | None = None
    signed: bool = False

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the findings, each once, sorted."""
        return tuple(sorted({finding.code.value for finding in self.findings}))

    @property
    def energy_limit_kwh(self) -> Decimal | None:
        """The most energy that may be charged, where a signature proves it."""
        return self.measured.energy_kwh if self.measured is not None and self.signed else None

    @property
    def reason(self) -> str:
        """Why the verdict is what it is, in words."""
        return "; ".join(f"{finding.text} [{finding.code}]" for finding in self.findings if not finding.note)


def facts_of(cdr: Cdr) -> CdrFacts:
    """The facts of a CDR that its meter may contradict."""
    volumes = [
        quantity.volume
        for period in cdr.periods
        for quantity in period.dimensions
        if quantity.type == _ENERGY
    ]
    total = Decimal(0)
    for volume in volumes:
        total = EXACT.add(total, volume)
    return CdrFacts(
        total_energy_kwh=cdr.total_energy_kwh,
        energy_volumes_kwh=total if volumes else None,
        started_at=cdr.start,
        ended_at=cdr.end,
        evse_id=cdr.evse_id,
        evse_uid=cdr.evse_uid,
        token_uid=cdr.auth_id,
    )


ReadText = OcmfRecord | MeterFinding  # what became of the text of one record


def read_texts(signed: SignedMeterData | None) -> tuple[ReadText, ...]:
    """Each text of a CDR as a record, or why it is none; nothing where the format is not checked."""
    if signed is None or signed.format is not MeterFormat.OCMF:
        return ()
    return tuple(map(read_record, signed.texts))


def records_of(read: Iterable[ReadText]) -> tuple[OcmfRecord, ...]:
    """The records that could be read, in the order of their pages."""
    return tuple(sorted((found for found in read if isinstance(found, OcmfRecord)), key=_page))


def read_records(signed: SignedMeterData | None) -> tuple[OcmfRecord, ...]:
    """The records that can be read, in the order of their pages."""
    return records_of(read_texts(signed))


def claimed_der(signed: SignedMeterData, records: Sequence[OcmfRecord]) -> bytes | None:
    """The key that a CDR claims for its records, None where it claims none that can be read."""
    curve = curve_of(records[0]) if records else None
    if signed.claimed_key is None:
        return None
    key = read_key(signed.claimed_key, curve=curve if isinstance(curve, str) else None)
    return key.der if isinstance(key, MeterKey) else None


def check_meter_data(
    signed: SignedMeterData | None,
    *,
    keys: Sequence[RegisteredKey] = (),
    trusted: MeterKey | None = None,
    facts: CdrFacts | None = None,
    time_priced: bool = False,
    must_name_meter: bool = False,
    replayed: Iterable[str] = (),
    read: Sequence[ReadText] | None = None,
) -> MeterCheck:
    """Check what a CDR carries. `keys` are the CPO's registered keys, whichever their meter.

    `trusted`: the key that the caller vouches for, in place of `keys`; `facts`: what to compare with, None
    where there is no CDR; `time_priced`: the tariff prices time; `replayed`: the pages that another session
    was settled with; `must_name_meter`: a record without a meter's serial is bad unless a registered key
    counts for it; `read`: what `read_texts` gave of `signed`, where the caller has it. Raises nothing,
    whatever a sender wrote.
    """
    if signed is None:
        return MeterCheck(verdict=MeterVerdict.MISSING)
    if signed.problem is not None:
        return _only(signed.problem)
    if signed.format is not MeterFormat.OCMF:
        method = signed.method[:36] or "no name"
        text = f"signed meter data in the format {signed.format} ({method}) are there and not checked"
        return _only(MeterFinding(code=MeterCode.FORMAT_NOT_CHECKED, text=text))
    read = read_texts(signed) if read is None else read
    broken = tuple(found for found in read if isinstance(found, MeterFinding))
    records = records_of(read)
    if broken or not records:
        verdict = verdict_of(broken, signed=False, registered=False)
        return MeterCheck(verdict=verdict, findings=broken, records=records)
    signatures = _signatures(records, signed, keys, trusted, facts)
    measured, unfit = measure(records, time_priced=time_priced)
    findings = [*signatures.findings, *check_records(records), *unfit]
    if must_name_meter:
        findings += _unnamed(records, keys, facts)
    findings += [
        MeterFinding(
            code=MeterCode.RECORD_REPLAYED, text=f"record {page} was sent before, for another session"
        )
        for page in replayed
    ]
    if facts is not None:
        findings += _bound(records, measured, facts, signed)
    return MeterCheck(
        verdict=verdict_of(findings, signed=signatures.signed, registered=signatures.proven),
        findings=tuple(findings),
        records=records,
        measured=measured,
        key_id=signatures.key_id,
        signed=signatures.signed,
    )


def _only(finding: MeterFinding) -> MeterCheck:
    return MeterCheck(verdict=verdict_of((finding,), signed=False, registered=False), findings=(finding,))


def _page(record: OcmfRecord) -> tuple[str, int]:
    return record.context, record.page


class _Signatures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`proven`: the key is registered or vouched for, not only claimed by the CDR."""

    findings: tuple[MeterFinding, ...]
    signed: bool = False
    proven: bool = False
    key_id: UUID | None = None


def _signatures(
    records: Sequence[OcmfRecord],
    signed: SignedMeterData,
    keys: Sequence[RegisteredKey],
    trusted: MeterKey | None,
    facts: CdrFacts | None,
) -> _Signatures:
    """Every record under one of its registered keys, else under the key that the CDR claims."""
    findings: list[MeterFinding] = []
    each = []
    for record in records:
        version = check_version(record)
        if version is not None:
            findings.append(version)
        registered = keys_for(record, keys, at=_time_of(record, facts))
        if trusted is not None:
            found = _by_trusted(record, trusted)
        elif registered:
            found = _by_registered(record, registered, signed.claimed_key)
        else:
            found = _by_claimed(record, signed.claimed_key)
        findings += found.findings
        each.append(found)
    used = {found.key_id for found in each}
    return _Signatures(
        findings=tuple(dict.fromkeys(findings)),
        signed=all(found.signed for found in each),
        proven=all(found.proven for found in each),
        key_id=used.pop() if len(used) == 1 else None,
    )


def _by_trusted(record: OcmfRecord, trusted: MeterKey) -> _Signatures:
    failed = verify_record(record, trusted)
    good = failed is None
    return _Signatures(findings=() if failed is None else (failed,), signed=good, proven=good)


def _by_registered(
    record: OcmfRecord, registered: Sequence[RegisteredKey], claimed: str | None
) -> _Signatures:
    noted: list[MeterFinding] = []
    if claimed is not None:
        own = read_key(claimed, curve=registered[0].curve)
        if isinstance(own, MeterKey) and own.der not in {key.der for key in registered}:
            text = "the CDR's key is not the registered one; the registered one is used"
            noted.append(MeterFinding(code=MeterCode.KEY_DIFFERS, text=text, note=True))
    failures = []
    for key in registered:
        failed = verify_record(record, key_of_der(key.der))
        if failed is None:
            return _Signatures(findings=tuple(noted), signed=True, proven=True, key_id=key.id)
        failures.append(failed)
    return _Signatures(findings=(*noted, failures[0]))


def _by_claimed(record: OcmfRecord, claimed: str | None) -> _Signatures:
    """Without a registered key a record can be consistent with its own CDR, and no more."""
    curve = curve_of(record)
    if isinstance(curve, MeterFinding):
        return _Signatures(findings=(curve,))
    source = record.source or "this meter"
    if claimed is None or not claimed.strip():
        text = f"no key is registered for {source}, and the CDR claims none"
        unknown = MeterFinding(code=MeterCode.KEY_UNKNOWN, text=text, note=True)
        return _Signatures(findings=(unknown,))
    text = f"no key is registered for {source}; the CDR's own key proves nothing"
    unknown = MeterFinding(code=MeterCode.KEY_UNKNOWN, text=text, note=True)
    own = read_key(claimed, curve=curve)
    failed = own if isinstance(own, MeterFinding) else verify_record(record, own)
    findings = (unknown,) if failed is None else (unknown, failed)
    return _Signatures(findings=findings, signed=failed is None)


def _unnamed(
    records: Sequence[OcmfRecord], keys: Sequence[RegisteredKey], facts: CdrFacts | None
) -> Iterator[MeterFinding]:
    """A record that drops its meter's serial must not avoid the key that is registered for the meter."""
    for record in records:
        if identity_of(record).parts[0] or keys_for(record, keys, at=_time_of(record, facts)):
            continue
        text = "the record names no meter, although keys of the CPO's meters are registered"
        yield MeterFinding(code=MeterCode.METER_UNNAMED, text=text)
        return


def _time_of(record: OcmfRecord, facts: CdrFacts | None) -> datetime:
    """When a record was made: by the CDR, whose clock can't be 1970; without one by its last reading."""
    if facts is not None:
        return facts.ended_at
    times = [reading.at for reading in record.readings if reading.at is not None]
    return times[-1] if times else datetime(1970, 1, 1, tzinfo=UTC)


def _bound(
    records: Sequence[OcmfRecord],
    measured: MeasuredTransaction | None,
    facts: CdrFacts,
    signed: SignedMeterData,
) -> Iterator[MeterFinding]:
    """Where the CDR says something else than the meter signed."""
    if measured is not None:
        yield from _bound_energy(measured, facts)
        yield from _bound_time(measured.begin, facts.started_at, "start")
        yield from _bound_time(measured.end, facts.ended_at, "end")
    record = records[0]
    if signed.meter_id and record.meter_serial and _plain(signed.meter_id) != _plain(record.meter_serial):
        text = f"the CDR names meter {signed.meter_id[:60]!r}, the record {record.meter_serial[:60]!r}"
        yield MeterFinding(code=MeterCode.SIGNED_METER_DIFFERS, text=text)
    yield from _bound_evse(record, facts)
    if record.user_id and facts.token_uid and _plain(record.user_id) != _plain(facts.token_uid):
        text = "the record shows another user id than the CDR's token"
        yield MeterFinding(code=MeterCode.SIGNED_USER_DIFFERS, text=text, note=True)


def _bound_energy(measured: MeasuredTransaction, facts: CdrFacts) -> Iterator[MeterFinding]:
    for name, stated in (
        ("total_energy", facts.total_energy_kwh),
        ("the sum of its ENERGY volumes", facts.energy_volumes_kwh),
    ):
        if stated is None:
            continue
        if abs(EXACT.subtract(stated, measured.energy_kwh)) > measured.last_digit_kwh:
            text = f"the CDR's {name} is {stated:f} kWh, the meter signed {measured.energy_kwh:f} kWh"
            yield MeterFinding(code=MeterCode.ENERGY_DIFFERS, text=text)


def _bound_time(reading: OcmfReading, stated: datetime, name: str) -> Iterator[MeterFinding]:
    if reading.at is None or reading.clock not in _SURE_CLOCKS:
        return
    if abs(reading.at - stated) > TIME_TOLERANCE:
        text = f"the CDR's {name} is {stated.isoformat()}, the meter signed {reading.at.isoformat()}"
        yield MeterFinding(code=MeterCode.SIGNED_TIME_DIFFERS, text=text)


def _bound_evse(record: OcmfRecord, facts: CdrFacts) -> Iterator[MeterFinding]:
    """A charge point's id in the form of an EVSE id must be the CDR's; another one can only be shown."""
    if not record.charge_point_id or not facts.evse_id:
        return
    signed = _plain(record.charge_point_id)
    if signed in {_plain(facts.evse_id), _plain(facts.evse_uid or "")}:
        return
    stated = record.charge_point_type == "EVSEID" and _EVSE_ID.fullmatch(signed) is not None
    text = f"the record names charge point {record.charge_point_id[:60]!r}, the CDR {facts.evse_id[:60]!r}"
    yield MeterFinding(code=MeterCode.SIGNED_EVSE_DIFFERS, text=text, note=not stated)


def _plain(text: str) -> str:
    return _SEPARATORS.sub("", text.lower())
