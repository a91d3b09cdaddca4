"""`networkcore books`: the general ledger as files and tables, and closing a period.

Owns: the options and what is printed. Must not know how a figure is made. Who closes is named with `--by`:
whoever can reach the database is trusted to name themselves.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from clearing.books.journal import DIALECTS, BooksForm
from clearing.books.journal_request import DatevClient
from clearing.books.period import parse_monthly_rates
from clearing.books.table_csv import trial_balance_csv, vat_return_csv
from clearing.books.vat_return import VatReturn
from clearing.money import to_major
from clearing.reporting.closing_points import ClosingPoint
from clearing.services import build_clearing
from gateway.books.export_service import JournalChoice
from gateway.books.services import BookServices, build_books
from gateway.cli.clock import read_clock
from gateway.cli.command_group import CommandGroup
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import open_pool
from gateway.database import transaction

_Result = TypeVar("_Result")
_NO: Final = 1
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_CHART: Final = "NETWORKCORE_CHART_OF_ACCOUNTS_PATH"
_chart = click.option(
    "--chart", type=_FILE, help=f"CSV of the chart of accounts; by default {_CHART}, else bundled."
)

_csv = click.option(
    "--csv", type=click.Choice(list(DIALECTS)), help="Write CSV for that country's Excel, not a table."
)


@click.group(name="books", cls=CommandGroup)
def command() -> None:
    """Export the general ledger, show VAT figures and balances, close a period."""


@command.command(name="journal")
@click.argument("period")
@click.option(
    "--form", type=click.Choice([form.value for form in BooksForm]), default="csv", show_default=True
)
@click.option(
    "--dialect",
    type=click.Choice(list(DIALECTS)),
    default="rfc4180",
    show_default=True,
    help="Of CSV: whose Excel.",
)
@click.option("--reporting-currency", help="Also convert each amount to this currency.")
@click.option(
    "--rates", type=_FILE, help="CSV of prescribed monthly rates; by default the ECB's of each day."
)
@click.option("--datev-adviser", type=int, help="Number of the tax adviser at DATEV.")
@click.option("--datev-client", type=int, help="Number of the client at DATEV.")
@click.option("--datev-account-length", type=int, default=4, show_default=True)
@click.option(
    "--datev-year-start", type=click.IntRange(1, 12), default=1, show_default=True, help="First month."
)
@click.option(
    "--datev-each-transfer", is_flag=True, help="A posting for each transfer; else sums of each day."
)
@click.option(
    "--verify/--no-verify", default=True, show_default=True, help="Recompute every hash of the period."
)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Directory.")
@_chart
def journal_command(
    *, period: str, form: str, output: Path, chart: Path | None, rates: Path | None, **options: Any
) -> None:
    """Write the journal of PERIOD, such as 2026-10 or 2026-10-01/2026-12-31, and print what proves it."""
    datev = None
    if options["datev_adviser"] is not None and options["datev_client"] is not None:
        datev = DatevClient(
            adviser=options["datev_adviser"],
            client=options["datev_client"],
            account_length=options["datev_account_length"],
            year_start_month=options["datev_year_start"],
            each_transfer=options["datev_each_transfer"],
        )
    choice = JournalChoice(
        period=period,
        form=BooksForm(form),
        dialect=options["dialect"],
        reporting_currency=options["reporting_currency"],
        monthly_rates=None if rates is None else _monthly_rates(rates),
        datev=datev,
        verified=options["verify"],
    )
    output.mkdir(parents=True, exist_ok=True)
    written = _run(
        lambda books: books.exports.write_journal(choice, output),
        command="journal",
        chart=chart,
        reading=True,
    )
    proof = written.proof
    click.echo(
        f"{written.path}  {proof.transfers} transfers of {proof.entries} entries  sha256 {proof.sha256}"
    )
    for currency, minor in proof.sums_minor.items():
        click.echo(f"debit = credit = {to_major(minor, currency)} {currency}")
    for span in proof.chains:
        click.echo(
            f"chain {span.chain}: positions {span.first_position} to {span.last_position}, "
            f"hash {span.last_hash}"
        )
    click.echo("every hash recomputed" if proof.verified else "hashes not recomputed")


@command.command(name="trial-balance")
@click.argument("period")
@_chart
@_csv
@as_json_option
def trial_balance_command(*, period: str, chart: Path | None, csv: str | None, as_json: bool) -> None:
    """Show each account of PERIOD: opening, debits, credits, closing."""
    lines = _run(lambda books: books.exports.trial_balance(period), command="trial-balance", chart=chart)
    if csv is not None:
        click.echo(trial_balance_csv(lines, DIALECTS[csv]), nl=False)
        return
    rows = [
        {
            "account": one.number,
            "name": one.name,
            "path": one.path,
            "currency": one.currency,
            "opening": to_major(one.opening_minor, one.currency),
            "debit": to_major(one.debit_minor, one.currency),
            "credit": to_major(one.credit_minor, one.currency),
            "closing": to_major(one.closing_minor, one.currency),
        }
        for one in lines
    ]
    show_rows(rows, title=f"Trial balance {period}", none="Nothing was booked.", as_json=as_json)


@command.command(name="vat-return")
@click.argument("period")
@click.option(
    "--rates",
    type=_FILE,
    help="CSV of prescribed monthly rates for the platform's own country; by default the ECB's of each day.",
)
@_csv
@as_json_option
def vat_return_command(*, period: str, rates: Path | None, csv: str | None, as_json: bool) -> None:
    """Show the VAT figures of PERIOD. Exit status 1 if a VAT account does not equal them."""
    monthly = None if rates is None else _monthly_rates(rates)
    found = _run(lambda books: books.exports.vat_return(period, monthly_rates=monthly), command="vat-return")
    if csv is None:
        _show_vat_return(found, period=period, as_json=as_json)
    else:
        click.echo(vat_return_csv(found, DIALECTS[csv]), nl=False)
    unequal = [one for one in found.proof if one.difference_minor]
    for one in unequal:
        difference = to_major(one.difference_minor, one.currency)
        click.echo(
            f"{one.account}: the ledger has {difference} {one.currency} more than the figures", err=True
        )
    if unequal:
        sys.exit(_NO)


def _show_vat_return(found: VatReturn, *, period: str, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "side": one.side.value,
            "country": one.country,
            "rate": one.rate,
            "category": one.category.value,
            "supply": one.supply.value,
            "currency": one.currency,
            "base": to_major(one.base_minor, one.currency),
            "tax": to_major(one.tax_minor, one.currency),
            "return_currency": one.return_currency,
            "return_base": to_major(one.return_base_minor, one.return_currency),
            "return_tax": to_major(one.return_tax_minor, one.return_currency),
        }
        for one in found.figures
    ]
    rows += [
        {
            "side": "sales_list",
            "country": one.country,
            "rate": Decimal(0),
            "category": "AE",
            "supply": f"{one.customer_id} {one.vat_id or ''}".strip(),
            "currency": one.currency,
            "base": to_major(one.base_minor, one.currency),
            "tax": Decimal(0),
            "return_currency": "",
            "return_base": "",
            "return_tax": "",
        }
        for one in found.sales_list
    ]
    show_rows(rows, title=f"VAT {period}", none="Nothing was supplied.", as_json=as_json)


@command.command(name="balances")
@as_json_option
def balances_command(*, as_json: bool) -> None:
    """Show what is owed to each party, withheld, prefunded, at the PSP and at the bank."""
    found = _run(lambda books: books.exports.list_treasury_balances(), command="balances")
    rows = [
        {
            "account": one.account,
            "currency": one.currency,
            "balance": to_major(one.minor, one.currency),
        }
        for one in found
    ]
    show_rows(rows, title="Balances", none="Every balance is zero.", as_json=as_json)


@command.command(name="close")
@click.argument("period")
@click.option("--check", is_flag=True, help="Only list what stands open. Exit status 1 if anything does.")
@click.option("--by", help="Who closes it: a name for the record.")
@as_json_option
def close_command(*, period: str, check: bool, by: str | None, as_json: bool) -> None:
    """Close the books up to the end of PERIOD.

    While something stands open, the first person's request is recorded and a second person closes the books.
    """
    if not check and not by:
        raise click.UsageError("name who closes the books with --by, or list what stands open with --check")

    async def work(books: BookServices) -> Any:
        if check or by is None:
            return await books.closing.check(period)
        async with transaction(books.closing.pool) as connection:
            return await books.closing.close_as(connection, period, by=by)

    found = _run(work, command="close")
    show_rows(
        [_point(one) for one in found.points],
        title=f"Open at the end of {period}",
        none="Nothing stands open.",
        as_json=as_json,
    )
    if check:
        sys.exit(_NO if found.points else 0)
    if found.request is not None:
        click.echo(f"requested by {found.request.requested_by}; another person must confirm", err=True)
        sys.exit(_NO)
    click.echo(f"closed up to {found.until.isoformat()}", err=as_json)


def _monthly_rates(path: Path) -> Mapping[tuple[str, str], tuple[Decimal, str]]:
    try:
        return parse_monthly_rates(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        raise click.UsageError(f"--rates: {path} can't be read: {error}") from None


def _point(one: ClosingPoint) -> Mapping[str, Any]:
    amount = ""
    if one.amount_minor is not None and one.currency is not None:
        amount = f"{to_major(one.amount_minor, one.currency)} {one.currency}"
    return {
        "kind": one.kind,
        "subject": one.subject,
        "amount": amount,
        "since": one.since,
        "owner": one.owner,
        "next_step": one.next_step,
        "detail": one.detail,
    }


def _run(
    work: Callable[[BookServices], Awaitable[_Result]],
    *,
    command: str,
    chart: Path | None = None,
    reading: bool = False,
) -> _Result:
    async def run() -> _Result:
        async with open_pool(f"books {command}", reading=reading) as pool:
            async with transaction(pool) as connection:
                clock = await read_clock(connection)
            path = os.environ.get(_CHART) if chart is None else str(chart)
            return await work(build_books(pool, clock, build_clearing(), chart_path=path))

    return asyncio.run(run())
