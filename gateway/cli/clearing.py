"""`networkcore clearing`: try an agreement before it is signed, write documents and statements.

Owns the options and what is printed. Must not know how anything is cleared.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from clearing.documents import invoice_service, service
from clearing.documents.document import DocumentFile, DocumentSummary
from clearing.fx import RateTable
from clearing.language import Language
from clearing.ledger import service as ledger_service
from clearing.money import exponent, to_major
from clearing.parties.agreement import Agreement
from clearing.parties.terms_json import parse_agreement
from clearing.reference_data import bundled_data
from clearing.reference_data.dataset import RatesAndCalendars
from clearing.reference_data.service import ReferenceDataService
from clearing.sessions.agreement_check import AgreementFinding, CheckSeverity, check_agreement
from clearing.sessions.simulate import Simulation, simulate
from gateway.cli.clock import business_now, offline_now
from gateway.cli.command_group import CommandGroup
from gateway.cli.documents import in_file, read_document
from gateway.cli.settlement_statements import settlement_statement_command
from gateway.cli.tables import as_json_option, open_console, show_rows
from gateway.cli.transaction import in_transaction, open_pool
from gateway.database import Connection, Pool, transaction
from gateway.pdf_renderer import render

_FAILED = 1
_HEAD_AND_FOOT = 2  # lines of a statement without a transfer
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(name="clearing", cls=CommandGroup)
def command() -> None:
    """Try agreements, issue documents, write statements."""


command.add_command(settlement_statement_command)


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
        _show(found, open_console())


@command.command(name="check")
@click.argument("agreement", type=_FILE)
@click.option("--at", "at", help="For a sale at this instant; default: now, or when AGREEMENT begins.")
@click.option(
    "--alone", is_flag=True, help="Check the terms only, without the parties and rates of DATABASE_URL."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def check_command(*, agreement: Path, at: str | None, alone: bool, as_json: bool) -> None:
    """Check AGREEMENT.

    Lists what would keep sessions from clearing under it, and what its parties may not expect. Nothing is
    stored. Exit status 1 if sessions would not clear.
    """
    with in_file(str(agreement)):
        read = parse_agreement(read_document(str(agreement)))
    instant = None if at is None else _instant(at, "--at")
    found: Sequence[AgreementFinding]
    if alone:
        sale = instant or max(offline_now(), read.valid_from)
        found = check_agreement(read, parties=None, references=_bundled(), at=sale)
    else:
        found = in_transaction(partial(_check, agreement=read, at=instant), command="clearing check")
    if as_json:
        shown = [{"severity": one.severity, "path": one.path, "text": one.text} for one in found]
        click.echo(json.dumps({"agreement": read.id, "version": read.version, "findings": shown}))
    else:
        for one in found:
            click.echo(f"{one.severity}: {one.path}: {one.text}")
        if not found:
            click.echo(f"{read.id} version {read.version}: no findings")
    if any(one.severity is CheckSeverity.ERROR for one in found):
        sys.exit(_FAILED)


async def _check(
    connection: Connection, *, agreement: Agreement, at: datetime | None
) -> Sequence[AgreementFinding]:
    sale = at or max(await business_now(connection), agreement.valid_from)
    stored = await ReferenceDataService().load(connection)
    return check_agreement(
        agreement,
        parties=stored.parties,
        others=stored.agreements.get(agreement.cpo_id, []),
        references=stored.rates_and_calendars,
        at=sale,
    )


def _bundled() -> RatesAndCalendars:
    return RatesAndCalendars(
        vat=bundled_data.vat_rates(),
        fx=RateTable(bundled_data.ecb_reference_rates()),
        calendars=bundled_data.calendars(),
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


@command.command(name="account-statement")
@click.argument("account")
@click.option("--currency", required=True, help="ISO 4217 code.")
@click.option("--since", required=True, help="First instant, such as 2026-10-01T00:00:00+02:00.")
@click.option("--until", required=True, help="End, exclusive.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
def account_statement_command(
    *, account: str, currency: str, since: str, until: str, output: Path | None
) -> None:
    """Write the statement of ACCOUNT, such as cpo:NL-ABC:payable. `networkcore verify` proves it offline."""
    span = (_instant(since, "--since"), _instant(until, "--until"))
    exponent(currency)  # rejects what is no currency
    written = in_transaction(
        partial(_account_statement, account=account, currency=currency, span=span, output=output),
        command="clearing account-statement",
        reading=True,
        isolation="repeatable_read",
    )
    if written <= _HEAD_AND_FOOT:
        click.echo(f"No entry was booked on {account} in {currency} in that time.", err=True)


async def _account_statement(
    connection: Connection,
    *,
    account: str,
    currency: str,
    span: tuple[datetime, datetime],
    output: Path | None,
) -> int:
    """Write it; returns the number of lines."""
    target = sys.stdout if output is None else output.open("w", encoding="utf-8")
    written = 0
    try:
        lines = ledger_service.list_statement_lines(
            connection, account=account, currency=currency, since=span[0], until=span[1]
        )
        async for line in lines:
            target.write(f"{line}\n")
            written += 1
    finally:
        if output is not None:
            target.close()
    return written


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
    """Issue the documents of the past period START to END (inclusive) and write them as PDF, UBL and CII.

    The PDF is Factur-X: PDF/A-3b with the CII attached. Exit status 1 if a document can't be issued; each is
    named with what to do about it.
    """
    period = (_day(start, "START"), _day(end, "END"))
    output.mkdir(parents=True, exist_ok=True)
    issued, rejected = asyncio.run(_invoices(period, output, Language(language)))
    if not issued and not rejected:
        click.echo(f"Nothing from {period[0]} to {period[1]} needs a document.", err=True)
    for one in rejected:
        click.echo(
            f"not issued: {one.supplier_id} -> {one.customer_id} {one.currency}: {one.reason}", err=True
        )
    if rejected:
        sys.exit(_FAILED)


async def _invoices(
    period: tuple[date, date], output: Path, language: Language
) -> tuple[int, Sequence[invoice_service.UnissuedDocument]]:
    async with open_pool("clearing invoices") as pool:
        return await issue_and_write(pool, period, output, language)


async def issue_and_write(
    pool: Pool, period: tuple[date, date], output: Path, language: Language
) -> tuple[int, Sequence[invoice_service.UnissuedDocument]]:
    """Issue the documents of `period` and write their files: how many, and what could not be issued."""
    async with transaction(pool) as connection:
        now = await business_now(connection)
        await invoice_service.wait_for_writers(connection)
    async with transaction(pool) as connection:
        issued, rejected = await invoice_service.issue(connection, start=period[0], end=period[1], now=now)
    for one in issued:
        async with transaction(pool) as connection:
            await _write_files(connection, one, output, language=language, now=now)
        amount = f"{to_major(one.gross_minor, one.currency)} {one.currency}"
        click.echo(f"{one.number}  {one.supplier_id} -> {one.customer_id}  {amount}")
    return len(issued), rejected


async def _write_files(
    connection: Connection,
    one: DocumentSummary,
    output: Path,
    *,
    language: Language,
    now: datetime,
) -> None:
    stored = await service.find_document(connection, name=one.number, party_id=None)
    if stored is None:
        raise click.ClickException(f"{one.number} is not in the archive")
    (output / f"{one.number}.ubl.xml").write_bytes(stored.ubl)
    (output / f"{one.number}.cii.xml").write_bytes(stored.cii)
    page = stored.pages.get(language)
    if page is not None:  # none was kept of what was issued before pages were
        file = DocumentFile(name=one.number, format="pdf", language=language)
        make = partial(render, page, cii=stored.cii, issued_at=one.issued_at)
        (output / f"{one.number}.pdf").write_bytes(await service.store_file(connection, file, make, now=now))


@command.command(name="document-exceptions")
@as_json_option
def document_exceptions_command(*, as_json: bool) -> None:
    """List the documents that can't be issued yet. Exit status 1 if there are any."""
    found = in_transaction(invoice_service.list_document_exceptions, command="clearing document-exceptions")
    rows = [
        {
            "period_start": one.period_start,
            "period_end": one.period_end,
            "supplier": one.supplier_id,
            "customer": one.customer_id,
            "currency": one.currency,
            "since": one.first_at,
            "reason": one.reason,
        }
        for one in found
    ]
    show_rows(rows, title="Document exceptions", none="Every document could be issued.", as_json=as_json)
    if found:
        sys.exit(_FAILED)


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
