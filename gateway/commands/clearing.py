"""`networkcore clearing`: try an agreement before it is signed, write documents and statements, close."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from clearing import reference
from clearing.documents.labels import Language
from clearing.fx import RateTable
from clearing.money import exponent, to_major
from clearing.parties.agreement import Agreement
from clearing.parties.terms_json import parse_agreement
from clearing.service import ClearingService
from clearing.sessions.agreement_check import AgreementFinding, Severity, check_agreement
from clearing.sessions.settlement import References
from clearing.sessions.simulate import Simulation, simulate
from clearing.store import references as stored
from clearing.work import documents, issuing
from gateway.clock import SystemClock
from gateway.commands.documents import in_file, read_document
from gateway.commands.payment_statements import disbursement_command
from gateway.config import load_database_url
from gateway.database import Connection, create_pool, transaction
from gateway.documents_pdf import render

_FAILED = 1
_HEAD_AND_FOOT = 2  # lines of a statement without a transfer
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(name="clearing")
def command() -> None:
    """Simulate agreements, write statements, close periods."""


command.add_command(disbursement_command)


@command.command(name="simulate")
@click.argument("agreement", type=_FILE)
@click.argument("session", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def simulate_command(*, agreement: Path, session: Path, as_json: bool) -> None:
    """Show who would get what of SESSION under AGREEMENT: supplies with their VAT, parts, due dates, journal.

    Nothing is stored. Rates are the bundled ones; a vat_id in SESSION counts as proven.
    """
    with in_file(str(agreement)):
        read = parse_agreement(read_document(str(agreement)))
    found = simulate(read, read_document(str(session)), references=_bundled())
    if as_json:
        click.echo(json.dumps(simulation_json(found), ensure_ascii=False))
    else:
        _show(found, Console())


@command.command(name="check")
@click.argument("agreement", type=_FILE)
@click.option("--at", "at", help="A sale at this instant; default: now, or when it begins.")
@click.option(
    "--alone", is_flag=True, help="Only what the terms say; else with the parties and rates of DATABASE_URL."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def check_command(*, agreement: Path, at: str | None, alone: bool, as_json: bool) -> None:
    """Say why AGREEMENT can't clear, and what it would surprise its parties with. Nothing is stored.

    Exit status 1 if sessions would wait.
    """
    with in_file(str(agreement)):
        read = parse_agreement(read_document(str(agreement)))
    instant = max(SystemClock().now(), read.valid_from) if at is None else _instant(at, "--at")
    dsn = None if alone else load_database_url(os.environ)
    found = asyncio.run(_check(dsn, read, instant))
    if as_json:
        shown = [{"severity": one.severity, "path": one.path, "text": one.text} for one in found]
        click.echo(json.dumps({"agreement": read.id, "version": read.version, "findings": shown}))
    else:
        for one in found:
            click.echo(f"{one.severity}: {one.path}: {one.text}")
        if not found:
            click.echo(f"{read.id} version {read.version}: nothing to say against it")
    if any(one.severity is Severity.ERROR for one in found):
        sys.exit(_FAILED)


async def _check(dsn: str | None, agreement: Agreement, at: datetime) -> Sequence[AgreementFinding]:
    if dsn is None:
        return check_agreement(agreement, parties=None, references=_bundled(), at=at)
    pool = await create_pool(dsn, min_size=1, max_size=1, application="check", statement_timeout_ms=60_000)
    try:
        async with pool.acquire() as connection:
            parties = await stored.parties(connection)
            others = (await stored.agreements(connection)).get(agreement.cpo_id, [])
            references = replace(_bundled(), fx=await stored.rate_table(connection))
    finally:
        await pool.close()
    return check_agreement(agreement, parties=parties, others=others, references=references, at=at)


def _bundled() -> References:
    return References(
        vat=reference.vat_rates(),
        fx=RateTable(reference.ecb_reference_rates()),
        calendars=reference.calendars(),
    )


def simulation_json(found: Simulation) -> dict[str, Any]:
    """A simulation as JSON-ready values; amounts are minor units."""
    rulings = {name: json.loads(content) for name, content in found.plan.rulings.items()}
    return {
        "currency": found.entry.currency,
        "gross_minor": found.entry.gross_minor,
        "supplies": [{**leg, "ruling": rulings[leg["ruling"]]} for leg in json.loads(found.entry.legs)],
        "payables": [
            {
                "party_id": payable.party_id,
                "role": payable.role,
                "amount_minor": payable.amount_minor,
                "currency": payable.currency,
                "due_date": payable.due_date.isoformat(),
            }
            for payable in found.entry.payables
        ],
        "fx": [
            {
                "base": lock.base,
                "quote": lock.quote,
                "rate": str(lock.rate),
                "rate_date": lock.rate_date.isoformat(),
                "source": lock.source,
                "markup_bps": lock.markup_bps,
            }
            for lock in found.entry.locks
        ],
        "journal": [transfer._asdict() for transfer in found.entry.transfers],
        "flags": list(found.entry.flags),
    }


def _show(found: Simulation, console: Console) -> None:
    result = simulation_json(found)
    unit = result["currency"]
    supplies = Table("supply", "from", "to", "net", "VAT", "rate", "category", "why", title="Supplies")
    for leg in result["supplies"]:
        ruling = leg["ruling"]
        supplies.add_row(
            leg["leg"],
            leg["supplier"],
            leg["customer"],
            str(to_major(leg["net"], unit)),
            str(to_major(leg["vat"], unit)),
            f"{ruling['rate']} %",
            ruling["category"],
            ruling["reason"],
        )
    console.print(supplies)
    gross = to_major(result["gross_minor"], unit)
    payables = Table("party", "role", "amount", "due", title=f"Owed, of {gross} {unit}")
    for line in result["payables"]:
        amount = f"{to_major(line['amount_minor'], line['currency'])} {line['currency']}"
        payables.add_row(line["party_id"], line["role"], amount, line["due_date"])
    console.print(payables)
    journal = Table("debit", "credit", "amount", title="Journal")
    for line in result["journal"]:
        amount = f"{to_major(line['amount_minor'], line['currency'])} {line['currency']}"
        journal.add_row(line["debit_account"], line["credit_account"], amount)
    console.print(journal)
    for flag in result["flags"]:
        console.print(f"flag: {flag}")


@command.command(name="statement")
@click.argument("account")
@click.option("--currency", required=True, help="ISO 4217 code.")
@click.option("--since", required=True, help="First instant, such as 2026-10-01T00:00:00+02:00.")
@click.option("--until", required=True, help="End, exclusive.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
def statement_command(*, account: str, currency: str, since: str, until: str, output: Path | None) -> None:
    """Write the statement of ACCOUNT, such as cpo:NL-ABC:payable; `networkcore verify` proves it offline."""
    span = (_instant(since, "--since"), _instant(until, "--until"))
    exponent(currency)  # refuses what is no currency
    asyncio.run(_statement(load_database_url(os.environ), account, currency, span=span, output=output))


async def _statement(
    dsn: str, account: str, currency: str, *, span: tuple[datetime, datetime], output: Path | None
) -> None:
    pool = await create_pool(
        dsn, min_size=1, max_size=1, application="statement", statement_timeout_ms=600_000
    )
    target = sys.stdout if output is None else output.open("w", encoding="utf-8")
    try:
        async with transaction(pool, isolation="repeatable_read") as connection:
            lines = ClearingService().statement(
                connection, account=account, currency=currency, since=span[0], until=span[1]
            )
            written = 0
            async for line in lines:
                target.write(f"{line}\n")
                written += 1
    finally:
        if output is not None:
            target.close()
        await pool.close()
    if written <= _HEAD_AND_FOOT:
        click.echo(f"nothing was booked on {account} in {currency} in that time", err=True)


@command.command(name="invoices")
@click.argument("start")
@click.argument("end")
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for the files.",
)
@click.option(
    "--language",
    type=click.Choice([language.value for language in Language]),
    default=Language.ENGLISH.value,
    show_default=True,
    help="Of the PDF files.",
)
def invoices_command(*, start: str, end: str, output: Path, language: str) -> None:
    """Issue the documents of START to END (inclusive, over) and write them as PDF, UBL and CII.

    The PDF is Factur-X: PDF/A-3b with the CII attached. Exit status 1 if a document was refused; each is
    named with what to do about it.
    """
    period = (_day(start, "START"), _day(end, "END"))
    output.mkdir(parents=True, exist_ok=True)
    refused = asyncio.run(_invoices(load_database_url(os.environ), period, output, Language(language)))
    for one in refused:
        click.echo(f"refused: {one.supplier_id} -> {one.customer_id} {one.currency}: {one.reason}", err=True)
    if refused:
        sys.exit(_FAILED)


async def _invoices(
    dsn: str, period: tuple[date, date], output: Path, language: Language
) -> Sequence[issuing.RefusedDocument]:
    pool = await create_pool(
        dsn, min_size=1, max_size=1, application="invoices", statement_timeout_ms=600_000
    )
    now = SystemClock().now()
    try:
        async with transaction(pool) as connection:
            await issuing.wait_for_writers(connection)
        async with transaction(pool) as connection:
            issued, refused = await issuing.issue(connection, start=period[0], end=period[1], now=now)
        for one in issued:
            async with transaction(pool) as connection:
                await _write_files(connection, one, output, language=language, now=now)
            amount = f"{to_major(one.gross_minor, one.currency)} {one.currency}"
            click.echo(f"{one.number}  {one.supplier_id} -> {one.customer_id}  {amount}")
    finally:
        await pool.close()
    return refused


async def _write_files(
    connection: Connection,
    one: documents.IssuedDocument,
    output: Path,
    *,
    language: Language,
    now: datetime,
) -> None:
    stored = await documents.find(connection, name=one.number, party_id=None)
    if stored is None:
        raise click.ClickException(f"{one.number} is not in the archive")
    (output / f"{one.number}.ubl.xml").write_bytes(stored.ubl)
    (output / f"{one.number}.cii.xml").write_bytes(stored.cii)
    page = stored.pages.get(language)
    if page is not None:  # none was kept of what was issued before pages were
        file = documents.DocumentFile(name=one.number, format="pdf", language=language)
        make = partial(render, page, cii=stored.cii, issued_at=one.issued_at)
        (output / f"{one.number}.pdf").write_bytes(await documents.keep_file(connection, file, make, now=now))


@command.command(name="refusals")
def refusals_command() -> None:
    """List the documents that can't be issued yet, since when and why. Exit status 1 if there are any."""
    found = asyncio.run(_refusals(load_database_url(os.environ)))
    for one in found:
        click.echo(
            f"{one.period_start} to {one.period_end}  {one.supplier_id} -> {one.customer_id}  "
            f"{one.currency}  since {one.first_at:%Y-%m-%d}: {one.reason}"
        )
    if found:
        sys.exit(_FAILED)
    click.echo("no document is refused", err=True)


async def _refusals(dsn: str) -> Sequence[issuing.KeptRefusal]:
    pool = await create_pool(dsn, min_size=1, max_size=1, application="refusals", statement_timeout_ms=60_000)
    try:
        async with pool.acquire() as connection:
            return await issuing.refusals(connection)
    finally:
        await pool.close()


@command.command(name="close")
@click.argument("until")
@click.option("--by", required=True, help="Who closes: a name for the record.")
def close_command(*, until: str, by: str) -> None:
    """Close the books up to UNTIL (exclusive): nothing is booked before it again, every balance is kept."""
    instant = _instant(until, "UNTIL")
    asyncio.run(_close(load_database_url(os.environ), instant, by))
    click.echo(f"closed up to {instant.isoformat()}")


async def _close(dsn: str, until: datetime, by: str) -> None:
    pool = await create_pool(dsn, min_size=1, max_size=1, application="close", statement_timeout_ms=600_000)
    try:
        async with transaction(pool) as connection:
            await ClearingService().close_period(connection, until=until, by=by, now=SystemClock().now())
    finally:
        await pool.close()


def _instant(text: str, name: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(
            f"{name}: {text!r} is not an instant such as 2026-10-01T00:00:00+02:00"
        ) from error
    if instant.tzinfo is None:
        raise click.UsageError(f"{name}: {text!r} needs a time zone, such as +02:00 or Z")
    return instant


def _day(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"{name}: {text!r} is not a day such as 2026-10-01") from error
