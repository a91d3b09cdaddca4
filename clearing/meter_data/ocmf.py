"""One record of the Open Charge Metering Format, versions 0.1 to 1.4: its text as values.

Owns: sections, fields, inheritance of fields between readings, the bytes that are signed. Must not know:
keys, other records, CDRs. The payload is kept as received and never written again.
Source: OCMF specification 1.4.1, "Sections", "Payload Data Section", "Signature Section".
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from clearing.errors import MalformedDocumentError
from clearing.meter_data.findings import MeterCode, MeterFinding
from clearing.pricing import json_document as document

HEADER: Final = "OCMF"
SEPARATOR: Final = "|"
MAX_CHARACTERS: Final = 65_536
MAX_READINGS: Final = 2_000
_NAME: Final = "OCMF"
_SECTIONS: Final = (3, 4)  # a fourth, in older records, is a key: kept, never trusted
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)[,.](\d{3})(?:([+-]\d\d):?(\d\d)|Z)(?: ?([UISR]))?", re.ASCII
)
_NUMBER: Final = re.compile(r"[+-]?\d{1,30}(?:\.\d{1,30})?", re.ASCII)
_PAGE: Final = re.compile(r"([TF])(0|[1-9]\d{0,17})", re.ASCII)
_YEARS: Final = range(1970, 2200)


class OcmfReading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One reading with the fields that it inherits from the one before it.

    `value` has the meter's own digits, in `unit`; `clock` is S, R, I or U; None where nothing states it.
    """

    at: datetime | None
    clock: str | None
    reason: str | None
    value: Decimal | None
    register: str | None
    unit: str | None
    errors: str
    status: str | None


class OcmfSignature(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The signature section: `algorithm` as stated, None where the default of the version counts."""

    algorithm: str | None
    encoding: str
    mime_type: str | None
    data: str


class OcmfRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record. `text` is the whole as received, `signed` the bytes of its payload."""

    text: str
    signed: bytes
    version: str | None
    context: str
    page: int
    gateway_serial: str | None
    meter_serial: str | None
    user_assigned: bool | None
    user_level: str | None
    user_id: str | None
    tariff_text: str | None
    charge_point_type: str | None
    charge_point_id: str | None
    readings: tuple[OcmfReading, ...]
    signature: OcmfSignature
    embedded_key: str | None

    @property
    def source(self) -> str:
        """The serial number that names the source of the record: the meter's, else the gateway's."""
        return self.meter_serial or self.gateway_serial or ""


class _MalformedError(Exception):
    """A record that is none; its text says where and why."""


def is_ocmf(text: str) -> bool:
    """Whether a text claims to be a record."""
    return text.lstrip().startswith(HEADER + SEPARATOR)


def read_record(text: str) -> OcmfRecord | MeterFinding:
    """A record from its text, or `ocmf_malformed` with what is wrong. Raises nothing, whatever the text."""
    try:
        return _read(text)
    except _MalformedError as error:
        return MeterFinding(code=MeterCode.MALFORMED, text=str(error))
    except MalformedDocumentError as error:
        return MeterFinding(code=MeterCode.MALFORMED, text=str(error))


def _read(text: str) -> OcmfRecord:
    if len(text) > MAX_CHARACTERS:
        raise _MalformedError(f"a record of {len(text)} characters; at most {MAX_CHARACTERS} are read")
    whole = text.strip(" \t\r\n")
    sections = whole.split(SEPARATOR)
    if sections[0] != HEADER or len(sections) not in _SECTIONS:
        raise _MalformedError("expected OCMF|payload|signature")
    signed = _bytes(sections[1])
    payload = document.load(signed, document=_NAME)
    signature = document.load(_bytes(sections[2]), document="OCMF signature")
    page = _PAGE.fullmatch(_required(payload, "PG"))
    if page is None:
        raise _MalformedError("PG: expected T or F and a number without leading zeros")
    return OcmfRecord(
        text=whole,
        signed=signed,
        version=_text(payload, "FV"),
        context=page[1],
        page=int(page[2]),
        gateway_serial=_text(payload, "GS") or None,
        meter_serial=_text(payload, "MS") or None,
        user_assigned=_flag(payload, "IS"),
        user_level=_text(payload, "IL"),
        user_id=_text(payload, "ID") or None,
        tariff_text=_text(payload, "TT"),
        charge_point_type=_text(payload, "CT"),
        charge_point_id=_text(payload, "CI") or None,
        readings=_readings(payload.get("RD")),
        signature=_signature(signature),
        embedded_key=sections[3].strip() or None if len(sections) == _SECTIONS[1] else None,
    )


def _bytes(section: str) -> bytes:
    try:
        return section.encode()
    except UnicodeEncodeError:
        raise _MalformedError("has half a character (a lone surrogate)") from None


def _text(tree: Mapping[str, Any], name: str) -> str | None:
    value = tree.get(name)
    if value is None or isinstance(value, str):
        return value
    raise _MalformedError(f"{name}: expected text")


def _required(tree: Mapping[str, Any], name: str) -> str:
    value = _text(tree, name)
    if value is None:
        raise _MalformedError(f"{name}: missing")
    return value


def _flag(tree: Mapping[str, Any], name: str) -> bool | None:
    value = tree.get(name)
    if value is not None and not isinstance(value, bool):
        raise _MalformedError(f"{name}: expected true or false")
    return value


def _signature(tree: Mapping[str, Any]) -> OcmfSignature:
    encoding = (_text(tree, "SE") or "hex").lower()
    if encoding not in {"hex", "base64"}:
        raise _MalformedError("SE: expected hex or base64")
    return OcmfSignature(
        algorithm=_text(tree, "SA"),
        encoding=encoding,
        mime_type=_text(tree, "SM"),
        data=_required(tree, "SD"),
    )


def _readings(found: Any) -> tuple[OcmfReading, ...]:
    """The readings: a field left out is that of the reading before, within this record only."""
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_READINGS:
        raise _MalformedError(f"RD: expected 1 to {MAX_READINGS} readings")
    inherited: dict[str, Any] = {}
    readings = []
    for place, member in enumerate(found):
        if not isinstance(member, dict):
            raise _MalformedError(f"RD[{place}]: expected an object")
        inherited |= member
        readings.append(_reading(inherited, f"RD[{place}]"))
    return tuple(readings)


def _reading(tree: Mapping[str, Any], at: str) -> OcmfReading:
    try:
        moment, clock = _moment(_text(tree, "TM"))
        return OcmfReading(
            at=moment,
            clock=clock,
            reason=_text(tree, "TX"),
            value=_value(tree.get("RV")),
            register=_text(tree, "RI"),
            unit=_text(tree, "RU"),
            errors=_text(tree, "EF") or "",
            status=_text(tree, "ST"),
        )
    except _MalformedError as error:
        raise _MalformedError(f"{at}.{error}") from None


def _moment(text: str | None) -> tuple[datetime | None, str | None]:
    if text is None:
        return None, None
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise _MalformedError("TM: expected a time such as 2018-07-24T13:22:04,000+0200 S")
    seconds, milliseconds, hours, minutes, clock = found.groups()
    zone = "+00:00" if hours is None else f"{hours}:{minutes}"
    try:
        moment = datetime.fromisoformat(f"{seconds}.{milliseconds}{zone}")
    except ValueError:
        raise _MalformedError(f"TM: {text.strip()} is no time") from None
    if moment.year not in _YEARS:
        raise _MalformedError(f"TM: the year {moment.year} is out of range")
    return moment, clock


def _value(value: Any) -> Decimal | None:
    """RV with its own digits; some meters send it as text, padded with spaces."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip(" ")
        if _NUMBER.fullmatch(text) is None:
            raise _MalformedError("RV: expected a number")
        return Decimal(text)
    if not isinstance(value, Decimal):
        raise _MalformedError("RV: expected a number")
    return document.check_number(value, document=_NAME, path="$.RD.RV")
