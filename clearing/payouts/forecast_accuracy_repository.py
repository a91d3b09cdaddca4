"""Forecast snapshots and forecast errors in PostgreSQL.

Owns: rows to values and back. Must not know: when a forecast is stored.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from clearing.connection import Connection, named_queries, rows
from clearing.payouts.forecast_accuracy import ExpectedPayment, ForecastDay, ForecastError

_sql = named_queries("forecast_accuracy")
_COLUMNS: Final = ("forecast_on", "party_id", "currency", "pay_on", "days_ahead", "amount_minor")


async def start_run(connection: Connection, day: date, *, now: datetime) -> bool:
    """Whether this transaction stores the day's forecast; False: it is stored already."""
    return await _sql.start_run(connection, day=day, now=now) is not None


async def insert_snapshot(connection: Connection, day: date, expected: Sequence[ExpectedPayment]) -> None:
    """Store the forecast of a day."""
    await connection.copy_records_to_table(
        "forecast_snapshot",
        schema_name="clearing",
        columns=_COLUMNS,
        records=[
            (day, one.party_id, one.currency, one.pay_on, one.days_ahead, one.amount_minor)
            for one in expected
        ],
    )


async def delete_snapshots(connection: Connection, *, before: date) -> None:
    """Delete forecasts of days before."""
    await _sql.delete_snapshots(connection, day=before)


async def measure(connection: Connection, *, since: date, until: date) -> None:
    """Compute the errors of the days from `since` to before `until` again."""
    await _sql.delete_errors(connection, since=since)
    await _sql.measure(connection, since=since, until=until)


async def list_errors(connection: Connection, *, since: date, until: date) -> list[ForecastError]:
    """The errors of the days from `since` to before `until`, summed."""
    found = await rows(_sql.errors(connection, since=since, until=until))
    return [ForecastError(**dict(row.items())) for row in found]


async def list_days(
    connection: Connection, *, since: date, until: date, party_id: str | None
) -> list[ForecastDay]:
    """The days from `since` to before `until`, the latest first; of one party, or of all."""
    found = await rows(_sql.days(connection, since=since, until=until, party_id=party_id))
    return [ForecastDay(**dict(row.items())) for row in found]
