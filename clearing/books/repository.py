"""The general ledger in PostgreSQL: read a page of batches at a time, in constant memory.

Owns: rows to values, and the journal as CSV, which the database writes itself. Must not know: other file
formats.
"""

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from clearing.books.chart import MappedAccount
from clearing.books.journal import AccountMovement, CsvDialect, JournalLine
from clearing.books.period import BooksPeriod, ReportingRate
from clearing.books.vat_return import SupplySum
from clearing.connection import Connection, named_queries, rows
from clearing.money import exponent
from clearing.tax.vat import Category, SupplyLeg

_sql = named_queries("books")
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BATCHES: Final = 500  # read in one look
_TRANSFERS: Final = 100_000  # sorted at once, unless one batch has more
_CENTS: Final = 2  # decimals of most currencies, which the statement writes without a look into a table
_BREAKS: Final = "\x01\x02\r\n"  # in no field: the first two stand for COPY's own delimiter and quote

BytesSink = Callable[[bytes], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DailySum:
    """What moved between two accounts on one day for one reason."""

    booked_on: date
    kind: str
    debit_account: str
    credit_account: str
    currency: str
    amount_minor: int
    transfers: int


async def list_accounts(connection: Connection, *, until: datetime) -> list[tuple[str, str]]:
    """Every account that the journal has moved before an instant, with each of its currencies."""
    found = await rows(_sql.accounts_used(connection, until=until))
    return [(row["account"], row["currency"]) for row in found]


async def raise_work_mem(connection: Connection) -> None:
    """Let a group of batches be sorted in memory and looked up by key, until the transaction ends."""
    await _sql.raise_work_mem(connection)


async def read_batches(connection: Connection, period: BooksPeriod) -> AsyncIterator[list[Any]]:
    """The batches of a period in the order of booking, in groups of a bounded number of transfers."""
    at, chain, position = _START, 0, 0
    while True:
        page = await rows(
            _sql.period_batches(
                connection,
                since=period.since,
                until=period.until,
                after_at=at,
                after_chain=chain,
                after_position=position,
                limit=_BATCHES,
            )
        )
        group: list[Any] = []
        transfers = 0
        for batch in page:
            if group and transfers + batch["transfer_count"] > _TRANSFERS:
                yield group
                group, transfers = [], 0
            group.append(batch)
            transfers += batch["transfer_count"]
        if group:
            yield group
        if len(page) < _BATCHES:
            return
        at, chain, position = page[-1]["booked_at"], page[-1]["chain"], page[-1]["position"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvColumns:
    """What the database needs to write the journal as CSV: the chart, the dialect and the rates."""

    accounts: Mapping[str, MappedAccount]
    currencies: Sequence[str]
    dialect: CsvDialect
    reporting_currency: str
    rates: Sequence[ReportingRate]
    time_zone: str


async def copy_csv(
    connection: Connection, batch_ids: Sequence[UUID], columns: CsvColumns, *, offset: int, sink: BytesSink
) -> int:
    """Write the transfers of some batches as rows of CSV into `sink`. Returns how many."""
    reporting, delimiter = columns.reporting_currency, columns.dialect.delimiter
    accounts = columns.accounts.items()
    shown = {
        path: f"{_quoted(one.number, delimiter)}{delimiter}{_quoted(path, delimiter)}{delimiter}"
        for path, one in accounts
    }
    cents = [currency for currency in columns.currencies if exponent(currency) == _CENTS]
    arguments: dict[str, Any] = {
        "offset": offset,
        "chart": json.dumps(shown),
        "all_cents": len(cents) == len(columns.currencies),
        "cents": cents,
        "point": columns.dialect.point,
        "digits": json.dumps({currency: exponent(currency) for currency in columns.currencies}),
        "reporting": reporting,
        "delimiter": delimiter,
        "rates": json.dumps(
            {
                f"{one.currency} {one.day}": [f"{one.rate:f}", _quoted(one.source, delimiter)]
                for one in columns.rates
            }
        ),
        "reporting_places": exponent(reporting) if reporting else 0,
        # Without a reporting currency most rows have the same text here.
        "first_currency": columns.currencies[0] if columns.currencies else "",
        "first_shown": f"{delimiter}{''.join(columns.currencies[:1])}{4 * delimiter}",
        "empty": 4 * delimiter,
        "vat_codes": json.dumps(
            {path: f"{_quoted(one.vat_code, delimiter)}{delimiter}" for path, one in accounts if one.vat_code}
        ),
        "parties": json.dumps(
            {path: _quoted(one.party_id, delimiter) for path, one in accounts if one.party_id}
        ),
        "breaks": _BREAKS,
        "zone": columns.time_zone,
        "batches": list(batch_ids),
    }
    copied = await connection.copy_from_query(
        _sql.journal_csv.sql.rstrip().rstrip(";"),
        *arguments.values(),  # numbered in the order in which the statement names them
        output=sink,
        format="csv",
        # The row is one text: nothing in it may be quoted a second time.
        delimiter=_BREAKS[0],
        quote=_BREAKS[1],
    )
    return int(copied.rpartition(" ")[2])


def _quoted(text: str, delimiter: str) -> str:
    """A field of CSV: in quotes where the delimiter or a quote is in it, without control characters."""
    plain = "".join(max(character, " ") for character in text)
    return '"' + plain.replace('"', '""') + '"' if {delimiter, '"'} & set(plain) else plain


async def list_lines(
    connection: Connection,
    batch_ids: Sequence[UUID],
    *,
    accounts: Mapping[str, MappedAccount],
    time_zone: str,
) -> list[JournalLine]:
    """The transfers of some batches in the order of booking."""
    return [
        JournalLine(
            debit=accounts[row["debit_account"]],
            credit=accounts[row["credit_account"]],
            **{name: value for name, value in row.items() if name not in {"debit_account", "credit_account"}},
        )
        for row in await rows(_sql.journal_rows(connection, zone=time_zone, batches=list(batch_ids)))
    ]


async def sum_days(connection: Connection, period: BooksPeriod) -> list[DailySum]:
    """What moved between each two accounts on each day of a period."""
    found = await rows(
        _sql.daily_sums(connection, zone=period.time_zone, since=period.since, until=period.until)
    )
    return [DailySum(**dict(row.items())) for row in found]


async def list_moved_days(connection: Connection, period: BooksPeriod) -> list[tuple[str, date]]:
    """Each currency with the days of a period on which it moved."""
    found = await rows(
        _sql.moved_days(connection, zone=period.time_zone, since=period.since, until=period.until)
    )
    return [(row["currency"], row["day"]) for row in found]


async def sum_accounts(connection: Connection, period: BooksPeriod) -> list[AccountMovement]:
    """Each account before the period and in it."""
    found = await rows(_sql.account_sums(connection, since=period.since, until=period.until))
    return [AccountMovement(**dict(row.items())) for row in found]


async def sum_supplies(connection: Connection, period: BooksPeriod) -> list[SupplySum]:
    """The supplies of a period by day, supplier, customer, ruling and currency."""
    found = await rows(
        _sql.supply_sums(connection, zone=period.time_zone, since=period.since, until=period.until)
    )
    return [_supply(row) for row in found]


def _supply(row: Any) -> SupplySum:
    ruling = json.loads(row["ruling"])
    return SupplySum(
        leg=SupplyLeg(row["leg"]),
        supplier_id=row["supplier_id"],
        customer_id=row["customer_id"],
        category=Category(ruling["category"]),
        rate=Decimal(ruling["rate"]),
        vat_of=ruling["vat_of"],
        acquisition_of=ruling["acquisition_of"],
        acquisition_rate=Decimal(ruling["acquisition_rate"]),
        currency=row["currency"],
        net_minor=row["net_minor"],
        vat_minor=row["vat_minor"],
        acquisition_minor=row["acquisition_minor"],
        supplies=row["supplies"],
        booked_on=row["booked_on"],
    )
