"""`networkcore price`: prices a CDR, or a file of them, and explains every line.

Owns the arguments and the form of the output. Must not know how a price is computed.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from clearing.pricing.cdr import parse_any_cdr, parse_cdr
from clearing.pricing.cdr_fields import unknown_cdr_fields
from clearing.pricing.compare import DEFAULT_TOLERANCE, Comparison, compare
from clearing.pricing.embedded import compile_raw, embedded_programs
from clearing.pricing.engine import price as price_session
from clearing.pricing.explain import receipt
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.priced import PricedSession
from clearing.pricing.tariff import recognize_tariff
from gateway.cli.documents import in_file, read_document
from gateway.cli.locale import locale_option
from gateway.cli.price_batch import BatchPricer

_VERSIONS = [version.value for version in OcpiVersion]


@click.command(name="price")
@click.argument("documents", nargs=-1, metavar="[TARIFF] [CDR]")
@click.option("--time-zone", metavar="ZONE", help="IANA time zone of the location, such as Europe/Amsterdam.")
@click.option("--ocpi", type=click.Choice(_VERSIONS), help="OCPI version of both; recognized if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole breakdown as JSON.")
@locale_option
@click.option("--tolerance", default=str(DEFAULT_TOLERANCE), show_default=True, help="Accepted difference.")
@click.option("--batch", metavar="IN", help="Price a file of JSON lines; - is standard input.")
@click.option("--output", metavar="OUT", help="Where --batch writes its lines; standard output if not given.")
def command(
    *,
    documents: tuple[str, ...],
    time_zone: str | None,
    ocpi: str | None,
    as_json: bool,
    locale: str,
    tolerance: str,
    batch: str | None,
    output: str | None,
) -> None:
    """Price a CDR by its TARIFF, or by the tariff inside it, and compare with the CPO's own total.

    A batch has one object per line: {"id", "tariff", "cdr", "time_zone"}; only "cdr" is needed. The output
    has one line per line, in the same order: the result, or an object with "error".
    """
    version = None if ocpi is None else OcpiVersion(ocpi)
    if batch is not None:
        if documents:
            raise click.UsageError("--batch takes its tariffs and CDRs from the file, not as arguments")
        _price_batch(batch, output, time_zone=time_zone, version=version)
        return
    if not 1 <= len(documents) <= 2:  # noqa: PLR2004 - a tariff and a CDR
        raise click.UsageError("expected TARIFF and CDR, or one CDR that carries its tariff")
    if output is not None:
        raise click.UsageError("--output goes with --batch")
    priced, comparison = _price_one(documents, time_zone, version, _amount(tolerance))
    if as_json:
        answer: dict[str, Any] = priced.to_dict() | {"cpo_total": comparison.to_dict()}
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for text in (*receipt(priced, locale=locale), *_remarks(priced, comparison)):
        click.echo(text)


def _amount(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not (value.is_finite() and value >= 0):
        raise click.UsageError(f"--tolerance: expected an amount of 0 or more, got {text!r}")
    return value


def _price_one(
    documents: tuple[str, ...], time_zone: str | None, version: OcpiVersion | None, tolerance: Decimal
) -> tuple[PricedSession, Comparison]:
    raw = read_document(documents[-1])
    with in_file(documents[-1]):
        cdr = parse_any_cdr(raw) if version is None else parse_cdr(raw, version=version, needs_id=False)
        unknown = unknown_cdr_fields(raw, version=cdr.version)
    if len(documents) == 1:
        with in_file(documents[-1]):
            embedded = embedded_programs(cdr)
            priced = price_session(embedded.main, cdr, time_zone=time_zone, others=embedded.others)
    else:
        content = read_document(documents[0])
        with in_file(documents[0]):
            program = compile_raw(content, version or recognize_tariff(content))
        with in_file(documents[-1]):
            priced = price_session(program, cdr, time_zone=time_zone)
    noted = msgspec.structs.replace(priced, notes=priced.notes + unknown)
    return noted, compare(priced, cdr, tolerance=tolerance)


def _remarks(priced: PricedSession, comparison: Comparison) -> Iterator[str]:
    yield f"Priced by tariff {priced.tariff_id} (OCPI {priced.version}), rounding {priced.policy}"
    if priced.time_zone is not None:
        yield f"Local time: {priced.time_zone}"
    differences = [
        f"{difference:+f} {side}"
        for difference, side in (
            (comparison.excl_vat_difference, "before tax"),
            (comparison.incl_vat_difference, "with tax"),
        )
        if difference is not None
    ]
    detail = f" ({', '.join(differences)})" if differences else ""
    yield f"The CPO's total: {comparison.verdict.value.replace('_', ' ')}{detail}"
    for note in priced.notes:
        yield f"{note.severity}: {note.path}: {note.text} [{note.code}]"


def _price_batch(
    source: str, target: str | None, *, time_zone: str | None, version: OcpiVersion | None
) -> None:
    with contextlib.ExitStack() as open_files:
        reader: BinaryIO = sys.stdin.buffer
        if source != "-":
            if target is not None and Path(target).exists() and Path(target).samefile(source):
                raise click.UsageError("--output is the input file itself")
            reader = open_files.enter_context(Path(source).open("rb"))
        writer: BinaryIO = sys.stdout.buffer
        if target is not None:
            writer = open_files.enter_context(Path(target).open("wb"))
        pricer = BatchPricer(time_zone=time_zone, version=version)
        count, rejected = pricer.run(reader, writer)
    click.echo(f"priced {count - rejected} of {count} lines, rejected {rejected}", err=True)


price = command
