"""`networkcore fx`: exchange rates imported and looked up, open positions, executed exchanges.

Owns: the options and what is printed. Must not know: how a file is read, how a rate is checked, what is
booked.
"""

import re
import sys
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import click

from clearing.errors import RateUnavailableError, UnreadableRatesError
from clearing.exchange_rates.ecb_files import MAX_BYTES, read_rates
from clearing.exchange_rates.rate_check import RateCheck
from clearing.exchange_rates.service import FxExecution, FxPosition
from clearing.fx import FRANKFURT, PIVOT, RateTable, ReferenceRate, convert, publication_day
from clearing.money import exponent, to_major
from clearing.services import build_clearing
from gateway.cli.clock import business_now
from gateway.cli.command_group import CommandGroup
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction
from gateway.database import Connection

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_DAY: Final = click.DateTime(formats=["%Y-%m-%d"])
_ACCEPTED: Final = re.compile(r"([A-Z]{3}):([0-9]{4}-[0-9]{2}-[0-9]{2})")
_STATUS_REJECTED_SOME: Final = 1
_SHOWN: Final = 20
_RATE_DIGITS: Final = 6


class _DryRunEnded(Exception):  # noqa: N818 - ends a transaction, is no error
    """Undoes what a dry run has done; carries what it would have been."""

    def __init__(self, found: list[tuple[str, RateCheck]]) -> None:
        super().__init__()
        self.found = found


@click.group(name="fx", cls=CommandGroup)
def command() -> None:
    """Import and show exchange rates; show positions, record executed exchanges."""


@command.command(name="import")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@click.option("--dry-run", is_flag=True, help="Show what would happen to each rate, and store nothing.")
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="CUR:DAY",
    help="Import this rate even if it is more than 20 % off, such as TRY:2026-11-20. Repeatable.",
)
@as_json_option
def import_command(
    *, paths: tuple[Path, ...], dry_run: bool, accepted: tuple[str, ...], as_json: bool
) -> None:
    """Import exchange rates of the ECB: its CSV or XML, or the zip of a CSV.

    All files or none are imported. Exit status 1 if single rates were rejected. Sessions that waited for a
    rate are cleared within a minute or two.
    """
    now = in_transaction(business_now, command="fx import")
    wanted = {_accepted(text) for text in accepted}
    files = [(path.name, _read(path, now=now)) for path in paths]
    there = {(rate.quote, rate.rate_date) for _, rates in files for rate in rates}
    for quote, day in sorted(wanted - there):
        raise click.UsageError(f"--accept {quote}:{day}: no file has that rate")

    async def work(connection: Connection) -> list[tuple[str, RateCheck]]:
        service = build_clearing().exchange_rates
        found = [
            (name, await service.import_rates(connection, rates, now=now, accepted=wanted))
            for name, rates in files
        ]
        if dry_run:
            raise _DryRunEnded(found)
        return found

    try:
        found = in_transaction(work, command="fx import")
    except _DryRunEnded as ended:
        found = ended.found
        click.echo("dry run: nothing is stored", err=as_json)
    _show_checked(found, as_json=as_json)
    if any(checked.rejected for _, checked in found):
        sys.exit(_STATUS_REJECTED_SOME)


@command.command(name="rates")
@click.option("--currency", help="One currency; default: all that have a rate.")
@click.option("--on", type=_DAY, help="The day; default: the latest day whose rates are published.")
@as_json_option
def rates_command(*, currency: str | None, on: datetime | None, as_json: bool) -> None:
    """Show which rate of one euro would be used on a day, and how old it is then."""
    if currency is not None:
        exponent(currency)
    if currency == PIVOT:
        raise click.UsageError("--currency EUR: rates are of one euro, name another currency")
    now, table = in_transaction(_table, command="fx rates")
    day = publication_day(now) if on is None else on.date()
    rows = [
        {"currency": quote, **_rate_cells(table, quote, day)}
        for quote in (table.quotes if currency is None else [currency])
    ]
    show_rows(rows, title=f"Rates on {day}", none="No exchange rates are stored.", as_json=as_json)


@command.command(name="positions")
@as_json_option
def positions_command(*, as_json: bool) -> None:
    """Show open positions between two currencies, and their gain or loss at today's rate."""

    async def work(connection: Connection) -> tuple[Sequence[FxPosition], RateTable, datetime]:
        rates = build_clearing().exchange_rates
        return (
            await rates.list_positions(connection),
            await rates.table(connection),
            await business_now(connection),
        )

    found, table, now = in_transaction(work, command="fx positions", isolation="repeatable_read")
    day = publication_day(now)
    rows = []
    for one in found:
        total = one.total
        rows.append(
            {
                "pair": f"{total.base}-{total.quote}",
                "sold": f"{to_major(total.sold_minor, total.base)} {total.base}",
                "bought": f"{to_major(total.bought_minor, total.quote)} {total.quote}",
                "locked_at": _locked_rate(one),
                "gain_at_this_rate": _unrealized(one, table, day),
                "gain_executed": f"{to_major(one.result_minor, total.quote)} {total.quote}",
            }
        )
    show_rows(rows, title=f"FX positions on {day}", none="No FX position was ever opened.", as_json=as_json)


@command.command(name="execute")
@click.argument("base")
@click.argument("quote")
@click.option("--sold-minor", required=True, type=int, help="Sold, in minor units of BASE.")
@click.option("--bought-minor", required=True, type=int, help="Bought, in minor units of QUOTE.")
@click.option("--reference", required=True, help="The bank's or PSP's id of the exchange: once is booked.")
@click.option(
    "--off-market",
    is_flag=True,
    help="Book it even if it is more than 20 % off, or if no rate is there to check it.",
)
def execute_command(
    *, base: str, quote: str, sold_minor: int, bought_minor: int, reference: str, off_market: bool
) -> None:
    """Close a part of the BASE-QUOTE position by an executed exchange. The rest is gain or loss."""
    exponent(base)
    exponent(quote)
    execution = FxExecution(
        base=base, quote=quote, sold_minor=sold_minor, bought_minor=bought_minor, reference=reference.strip()
    )

    async def work(connection: Connection) -> bool:
        now = await business_now(connection)
        rates = build_clearing().exchange_rates
        return await rates.execute(connection, execution, now=now, off_market=off_market)

    exchange = f"{to_major(sold_minor, base)} {base} for {to_major(bought_minor, quote)} {quote}"
    if in_transaction(work, command="fx execute"):
        click.echo(f"booked: {exchange}")
    else:
        click.echo(f"{execution.reference} was booked before, {exchange}: nothing was done")


async def _table(connection: Connection) -> tuple[datetime, RateTable]:
    return await business_now(connection), await build_clearing().exchange_rates.table(connection)


def _accepted(text: str) -> tuple[str, date]:
    match = _ACCEPTED.fullmatch(text)
    try:
        if match is not None:
            return match[1], date.fromisoformat(match[2])
    except ValueError:
        pass
    raise click.UsageError(f"--accept {text!r}: expected a currency and a day such as TRY:2026-11-20")


def _read(path: Path, *, now: datetime) -> Sequence[ReferenceRate]:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    try:
        return read_rates(content, today=now.astimezone(FRANKFURT).date())
    except UnreadableRatesError as error:
        raise UnreadableRatesError(f"{path.name}, {error.where}", error.detail) from None


def _show_checked(found: Sequence[tuple[str, RateCheck]], *, as_json: bool) -> None:
    rows = [
        {
            "file": name,
            "new": len(checked.new),
            "known": checked.known,
            "rejected": len(checked.rejected),
            "too_old_to_matter": checked.left_out,
        }
        for name, checked in found
    ]
    show_rows(rows, title="Exchange rates", none="No file was read.", as_json=as_json)
    rejected = [(name, one) for name, checked in found for one in checked.rejected]
    for name, one in rejected[:_SHOWN]:
        click.echo(
            f"rejected: {name}, {one.rate.quote} of {one.rate.rate_date} = {one.rate.rate}: {one.why}",
            err=as_json,
        )
    if len(rejected) > _SHOWN:
        click.echo(f"and {len(rejected) - _SHOWN} more", err=as_json)


def _rate_cells(table: RateTable, quote: str, day: date) -> dict[str, str | int | None]:
    """The rate, its day, its age, and why it would not be used."""
    try:
        lock = table.lock(base=PIVOT, quote=quote, day=day)
    except RateUnavailableError as error:
        return {"rate_of_1_EUR": None, "published": None, "days_old": None, "problem": str(error)}
    return {
        "rate_of_1_EUR": str(lock.rate),
        "published": str(lock.rate_date),
        "days_old": (day - lock.rate_date).days,
        "problem": None,
    }


def _locked_rate(one: FxPosition) -> str:
    """The average rate of the open part; '-' where nothing is open."""
    total = one.total
    if total.sold_minor == 0:
        return "-"
    rate = to_major(total.bought_minor, total.quote) / to_major(total.sold_minor, total.base)
    return f"{rate:.{_RATE_DIGITS}f}"


def _unrealized(one: FxPosition, table: RateTable, day: date) -> str:
    total = one.total
    try:
        lock = table.lock(base=total.base, quote=total.quote, day=day)
    except RateUnavailableError:
        return "no rate"
    gain: Decimal = to_major(convert(total.sold_minor, lock) - total.bought_minor, total.quote)
    return f"{gain} {total.quote}"
