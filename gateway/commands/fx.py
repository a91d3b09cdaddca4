"""`networkcore fx`: exchange rates in and looked up, open positions, executed exchanges.

Owns: the options and what is printed. Must not know: how a file is read, how a rate is judged, what is
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
from rich.console import Console
from rich.table import Table

from clearing.desks.rate_desk import Execution, Judgement, Position, RateDesk
from clearing.ecb import MAX_BYTES, read_rates
from clearing.errors import RateUnavailableError, UnreadableRatesError
from clearing.fx import FRANKFURT, PIVOT, RateTable, ReferenceRate, convert, publication_day
from clearing.money import exponent, to_major
from clearing.service import ClearingService
from gateway.clock import SystemClock
from gateway.commands.in_transaction import in_transaction
from gateway.database import Connection

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_DAY: Final = click.DateTime(formats=["%Y-%m-%d"])
_ACCEPTED: Final = re.compile(r"([A-Z]{3}):([0-9]{4}-[0-9]{2}-[0-9]{2})")
_STATUS_REFUSED_SOME: Final = 1
_SHOWN: Final = 20
_RATE_DIGITS: Final = 6


class _DryRunEnded(Exception):  # noqa: N818 - ends a transaction, is no error
    """Undoes what a dry run has done; carries what it would have been."""

    def __init__(self, found: list[tuple[str, Judgement]]) -> None:
        super().__init__()
        self.found = found


@click.group(name="fx")
def command() -> None:
    """Exchange rates and positions."""


@command.command(name="import")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@click.option("--dry-run", is_flag=True, help="Say what would become of each rate, and keep nothing.")
@click.option(
    "--accept", "accepted", multiple=True, metavar="CUR:DAY",
    help="Take this rate though it is more than 20 % off, such as TRY:2026-11-20. Repeatable.",
)  # fmt: skip
def import_command(*, paths: tuple[Path, ...], dry_run: bool, accepted: tuple[str, ...]) -> None:
    """Take in the ECB's reference rates: its CSV or XML, or the zip of a CSV.

    All files or none; exit status 1 if single rates were refused. Sessions that waited for a rate are cleared
    by themselves within a minute or two.
    """
    now = SystemClock().now()
    wanted = {_accepted(text) for text in accepted}
    files = [(path.name, _read(path, now=now)) for path in paths]
    there = {(rate.quote, rate.rate_date) for _, rates in files for rate in rates}
    for quote, day in sorted(wanted - there):
        raise click.UsageError(f"--accept {quote}:{day}: no file has that rate")

    async def work(connection: Connection) -> list[tuple[str, Judgement]]:
        desk = RateDesk(ClearingService())
        found = [
            (name, await desk.take(connection, rates, now=now, accepted=wanted)) for name, rates in files
        ]
        if dry_run:
            raise _DryRunEnded(found)
        return found

    try:
        found = in_transaction(work)
    except _DryRunEnded as ended:
        found = ended.found
        click.echo("dry run: nothing is kept")
    _show_judged(found)
    if any(judged.refused for _, judged in found):
        sys.exit(_STATUS_REFUSED_SOME)


@command.command(name="rates")
@click.option("--currency", help="One currency; default: all that have a rate.")
@click.option("--on", type=_DAY, help="The day; default: now, by what is published.")
def rates_command(*, currency: str | None, on: datetime | None) -> None:
    """Show which rate of one euro would be used on a day, and how old it is then."""
    if currency is not None:
        exponent(currency)
    if currency == PIVOT:
        raise click.UsageError("--currency EUR: rates are of one euro, name another currency")
    day = publication_day(SystemClock().now()) if on is None else on.date()
    table = in_transaction(_table)
    shown = Table("currency", "rate of 1 EUR", "published", "days old", "", title=f"Rates on {day}")
    for quote in table.quotes if currency is None else [currency]:
        shown.add_row(quote, *_rate_cells(table, quote, day))
    Console().print(shown)


@command.command(name="positions")
def positions_command() -> None:
    """Show what stands open between two currencies, and what it would gain or lose at today's rate."""

    async def work(connection: Connection) -> tuple[Sequence[Position], RateTable]:
        desk = RateDesk(ClearingService())
        return await desk.positions(connection), await desk.table(connection)

    found, table = in_transaction(work, isolation="repeatable_read")
    day = publication_day(SystemClock().now())
    shown = Table("pair", "taken", "given", "locked at", f"gain by {day}'s rate", "gain executed")
    for one in found:
        total = one.total
        shown.add_row(
            f"{total.base}-{total.quote}",
            f"{to_major(total.sold_minor, total.base)} {total.base}",
            f"{to_major(total.bought_minor, total.quote)} {total.quote}",
            _locked_rate(one),
            _unrealized(one, table, day),
            f"{to_major(one.result_minor, total.quote)} {total.quote}",
        )
    Console().print(shown)


@command.command(name="execute")
@click.argument("base")
@click.argument("quote")
@click.option("--sold-minor", required=True, type=int, help="Sold, in minor units of BASE.")
@click.option("--bought-minor", required=True, type=int, help="Bought, in minor units of QUOTE.")
@click.option("--reference", required=True, help="The bank's or PSP's id of the exchange: once is booked.")
@click.option("--off-market", is_flag=True, help="Book it though it is more than 20 % off, or unchecked.")
def execute_command(
    *, base: str, quote: str, sold_minor: int, bought_minor: int, reference: str, off_market: bool
) -> None:
    """Close a part of the BASE-QUOTE position by an exchange that was executed; the rest is gain or loss."""
    exponent(base)
    exponent(quote)
    wish = Execution(
        base=base, quote=quote, sold_minor=sold_minor, bought_minor=bought_minor, reference=reference.strip()
    )

    async def work(connection: Connection) -> bool:
        desk = RateDesk(ClearingService())
        return await desk.execute(connection, wish, now=SystemClock().now(), off_market=off_market)

    told = f"{to_major(sold_minor, base)} {base} for {to_major(bought_minor, quote)} {quote}"
    if in_transaction(work):
        click.echo(f"booked: {told}")
    else:
        click.echo(f"{wish.reference} is booked already, {told}: nothing was done")


async def _table(connection: Connection) -> RateTable:
    return await RateDesk(ClearingService()).table(connection)


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


def _show_judged(found: Sequence[tuple[str, Judgement]]) -> None:
    shown = Table("file", "new", "known", "refused", "too old to matter")
    for name, judged in found:
        figures = (len(judged.new), judged.known, len(judged.refused), judged.left_out)
        shown.add_row(name, *(str(figure) for figure in figures))
    Console().print(shown)
    refused = [(name, one) for name, judged in found for one in judged.refused]
    for name, one in refused[:_SHOWN]:
        click.echo(f"refused: {name}, {one.rate.quote} of {one.rate.rate_date} = {one.rate.rate}: {one.why}")
    if len(refused) > _SHOWN:
        click.echo(f"and {len(refused) - _SHOWN} more")


def _rate_cells(table: RateTable, quote: str, day: date) -> tuple[str, str, str, str]:
    """The rate, its day, its age and why it would not be used."""
    try:
        lock = table.lock(base=PIVOT, quote=quote, day=day)
    except RateUnavailableError as error:
        return "-", "-", "-", str(error)
    return str(lock.rate), str(lock.rate_date), str((day - lock.rate_date).days), ""


def _locked_rate(one: Position) -> str:
    """What the open part was given for, on average; '-' where nothing is open."""
    total = one.total
    if total.sold_minor == 0:
        return "-"
    rate = to_major(total.bought_minor, total.quote) / to_major(total.sold_minor, total.base)
    return f"{rate:.{_RATE_DIGITS}f}"


def _unrealized(one: Position, table: RateTable, day: date) -> str:
    total = one.total
    try:
        lock = table.lock(base=total.base, quote=total.quote, day=day)
    except RateUnavailableError:
        return "no rate"
    gain: Decimal = to_major(convert(total.sold_minor, lock) - total.bought_minor, total.quote)
    return f"{gain} {total.quote}"
