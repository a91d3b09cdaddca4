"""`networkcore meter`: verifies signed meter data offline; its commands for keys are in `meter_keys`.

Owns: which kind of file was named, the options, the form of the output. Must not know how data are verified.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from clearing.meter_data.check import CdrFacts, MeterCheck, check_meter_data, facts_of
from clearing.meter_data.findings import MeterFinding, MeterVerdict
from clearing.meter_data.keys import MeterKey, read_key
from clearing.meter_data.ocmf import OcmfReading, OcmfRecord, read_record
from clearing.meter_data.signature import curve_of
from clearing.meter_data.signed_data import SignedMeterData, from_texts, read_signed_data
from clearing.meter_data.transparency_xml import read_transparency_xml, transparency_xml
from clearing.pricing.cdr import parse_any_cdr
from gateway.cli import meter_keys
from gateway.cli.command_group import CommandGroup
from gateway.cli.documents import in_file, read_document

_NO: Final = 1


@click.group(name="meter", cls=CommandGroup)
def command() -> None:
    """Verify signed meter data offline; register keys of meters."""


for one in meter_keys.COMMANDS:
    command.add_command(one)


@command.command(name="verify")
@click.argument("file")
@click.option(
    "--key", "key_text", metavar="KEY", help="The meter's public key: hex, base64 or PEM, or a file of it."
)
@click.option(
    "--xml",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the records here, for the S.A.F.E. transparency software.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not lines.")
def verify_command(*, file: str, key_text: str | None, xml: Path | None, as_json: bool) -> None:
    """Verify FILE: an OCMF record, base64 of one, a S.A.F.E. XML file, or a CDR in JSON; - is standard input.

    A CDR is also compared with what its meter signed. Without --key the key in the file is used: then the
    data are consistent (`self_asserted`), but no proof. Exit status 0: verified; 1: not; 2: unreadable.
    """
    raw = read_document(file)
    signed, facts = _read(file, raw)
    key = _key(key_text, signed)
    found = check_meter_data(signed, trusted=key, facts=facts)
    if xml is not None:
        _write(xml, found, None if key is None else key.der)
    if as_json:
        click.echo(json.dumps(_answer(found), ensure_ascii=False))
    else:
        for line in _lines(found):
            click.echo(line)
    if found.verdict is not MeterVerdict.VERIFIED:
        sys.exit(_NO)


def _write(path: Path, found: MeterCheck, public_key: bytes | None) -> None:
    if not found.records:
        raise click.ClickException(f"{path} is not written: there is no OCMF record to write")
    try:
        path.write_bytes(transparency_xml(found.records, public_key=public_key))
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror or error}") from None


def _read(name: str, raw: bytes) -> tuple[SignedMeterData | None, CdrFacts | None]:
    content = raw.strip()
    if content.startswith(b"<"):
        with in_file(name):
            return read_transparency_xml(content), None
    if content.startswith(b"{"):
        with in_file(name):
            return read_signed_data(content), facts_of(parse_any_cdr(content))
    try:
        return from_texts([content.decode()]), None
    except UnicodeDecodeError:
        raise click.ClickException(
            f"{name}: is neither text, XML nor JSON; expected an OCMF record, S.A.F.E. XML or a CDR"
        ) from None


def _key(text: str | None, signed: SignedMeterData | None) -> MeterKey | None:
    """The key that was named; a bare point is on the curve of the first record."""
    if text is None:
        return None
    text = meter_keys.key_text(text)
    records = [read_record(one) for one in (signed.texts if signed is not None else ())]
    curves = (curve_of(one) for one in records if isinstance(one, OcmfRecord))
    found = read_key(text, curve=next((one for one in curves if isinstance(one, str)), None))
    if isinstance(found, MeterFinding):
        raise click.UsageError(f"--key: {found.text}")
    return found


def _answer(found: MeterCheck) -> dict[str, Any]:
    measured = found.measured
    return {
        "verdict": found.verdict.value,
        "findings": [{"code": one.code.value, "text": one.text, "note": one.note} for one in found.findings],
        "records": [f"{one.context}{one.page}" for one in found.records],
        "signature": found.signed,
        "meter": None if measured is None else measured.meter_serial,
        "register": None if measured is None else measured.register,
        "begin": None if measured is None else _reading(measured.begin),
        "end": None if measured is None else _reading(measured.end),
        "energy_kwh": None if measured is None else f"{measured.energy_kwh:f}",
        "proven_energy_kwh": None if found.energy_limit_kwh is None else f"{found.energy_limit_kwh:f}",
        "last_digit_kwh": None if measured is None else f"{measured.last_digit_kwh:f}",
    }


def _reading(reading: OcmfReading) -> dict[str, str | None]:
    return {
        "value": None if reading.value is None else f"{reading.value:f}",
        "unit": reading.unit,
        "at": None if reading.at is None else reading.at.isoformat(),
        "clock": reading.clock,
    }


def _lines(found: MeterCheck) -> Iterator[str]:
    yield f"{'' if found.verdict is MeterVerdict.VERIFIED else 'NOT '}VERIFIED: {found.verdict}"
    measured = found.measured
    if measured is not None:
        pages = ", ".join(f"{one.context}{one.page}" for one in found.records)
        yield f"meter   {measured.meter_serial}, register {measured.register}, record {pages}"
        for name, reading in (("begin", measured.begin), ("end", measured.end)):
            at = (
                "no time"
                if reading.at is None
                else f"{reading.at.isoformat()} (clock {reading.clock or '-'})"
            )
            yield f"{name:<7} {reading.value:f} {reading.unit}  {at}"
        yield f"energy  {measured.energy_kwh:f} kWh, to {measured.last_digit_kwh:f} kWh"
    for finding in found.findings:
        yield f"{'note' if finding.note else 'fault':<7} {finding.text} [{finding.code}]"
