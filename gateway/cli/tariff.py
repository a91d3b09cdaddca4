"""`networkcore tariff`: checks tariffs, shows their prices as text, quotes a session.

Owns the arguments and the form of the output. Must not know how a tariff is read or priced.
"""

import json
from datetime import datetime
from decimal import Decimal, InvalidOperation

import click

from clearing.pricing.engine import compile_tariff
from clearing.pricing.explain import display_prices, receipt
from clearing.pricing.lint import lint as lint_tariff
from clearing.pricing.notes import NoteSeverity
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.quote import QuoteRequest
from clearing.pricing.quote import quote as quote_session
from clearing.pricing.tariff import Tariff, parse_tariff, recognize_tariff
from gateway.cli.clock import offline_now
from gateway.cli.command_group import CommandGroup
from gateway.cli.documents import in_file, read_document
from gateway.cli.locale import locale_option

_STATUS_FOUND = 1
_VERSION = click.Choice([version.value for version in OcpiVersion])


@click.group(name="tariff", cls=CommandGroup)
def command() -> None:
    """Check public tariffs, show their prices, quote a session."""


@command.command(name="lint")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--power", metavar="KW", help="Power of the charge points that use it, for the AFIR rules.")
@click.option("--ocpi", type=_VERSION, help="OCPI version; recognized if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file, not lines.")
def lint(*, files: tuple[str, ...], power: str | None, ocpi: str | None, as_json: bool) -> int:
    """Check tariffs: elements never reached, gaps, unusual prices, missing tax, AFIR.

    Exit status 1 on a warning.
    """
    power_kw = None if power is None else _number(power, "--power")
    worst = 0
    for name in files:
        findings = lint_tariff(_read(name, ocpi), power_kw=power_kw)
        if any(finding.severity is not NoteSeverity.INFO for finding in findings):
            worst = _STATUS_FOUND
        if as_json:
            answer = {"file": name, "findings": [finding.to_dict() for finding in findings]}
            click.echo(json.dumps(answer, ensure_ascii=False))
            continue
        for finding in findings:
            click.echo(f"{name}: {finding.path}: {finding.severity} {finding.code}: {finding.text}")
        if not findings:
            click.echo(f"{name}: no findings")
    return worst


@command.command(name="show")
@click.argument("file", metavar="FILE")
@locale_option
@click.option("--ocpi", type=_VERSION, help="OCPI version; recognized if not given.")
def show(*, file: str, locale: str, ocpi: str | None) -> None:
    """Show the price components in the order that article 5 of AFIR requires: per kWh first."""
    for text in display_prices(_read(file, ocpi), locale=locale):
        click.echo(text)


@command.command(name="quote")
@click.argument("file", metavar="FILE")
@click.option("--energy", required=True, metavar="KWH", help="Energy expected.")
@click.option("--minutes", required=True, type=click.IntRange(1, 44_640), help="Charging time.")
@click.option("--parking", default=0, type=click.IntRange(0, 44_640), help="Minutes parked after charging.")
@click.option("--start", metavar="TIME", help="ISO 8601 with an offset or Z; now if not given.")
@click.option("--time-zone", default="UTC", show_default=True, help="IANA time zone of the location.")
@click.option("--power", metavar="KW", help="Maximum power of the connector.")
@locale_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole breakdown as JSON.")
@click.option("--ocpi", type=_VERSION, help="OCPI version; recognized if not given.")
def quote(
    *,
    file: str,
    energy: str,
    minutes: int,
    parking: int,
    start: str | None,
    time_zone: str,
    power: str | None,
    locale: str,
    as_json: bool,
    ocpi: str | None,
) -> None:
    """Estimate the price of a session before it starts, and the hold that it needs."""
    program = compile_tariff(_read(file, ocpi))
    with in_file(file):
        request = QuoteRequest(
            energy_wh=int(_number(energy, "--energy") * 1000),
            duration_s=minutes * 60,
            parking_s=parking * 60,
            start=_start(start),
            time_zone=time_zone,
            max_power_w=None if power is None else int(_number(power, "--power") * 1000),
        )
        estimate = quote_session(program, request)
    if as_json:
        answer = estimate.priced.to_dict() | {"hold_minor": estimate.hold_minor}
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for text in receipt(estimate.priced, locale=locale):
        click.echo(text)
    click.echo(f"Hold: {estimate.hold_minor} minor units of {estimate.currency}")


def _read(name: str, ocpi: str | None) -> Tariff:
    raw = read_document(name)
    with in_file(name):
        version = recognize_tariff(raw) if ocpi is None else OcpiVersion(ocpi)
        return parse_tariff(raw, version=version)


def _number(text: str, option: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not (value.is_finite() and 0 <= value < 1_000_000):  # noqa: PLR2004 - a million kW or kWh
        raise click.UsageError(f"{option}: expected a number of 0 or more, got {text!r}")
    return value


def _start(text: str | None) -> datetime:
    if text is None:
        return offline_now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 - rejected below
    if moment.tzinfo is None:
        raise click.UsageError(f"--start: expected a time such as 2026-11-22T08:00:00Z, got {text!r}")
    return moment


tariff = command
