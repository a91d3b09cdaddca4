"""The promise, kept and measured: each day's forecast is stored, and held against what was paid.

Owns: when a snapshot is taken and for how long it is kept. Must not know: who looks at the error. Every
function takes the connection; none commits.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from clearing import reference
from clearing.connection import Connection, named_queries, rows
from clearing.payouts.accuracy import expected, payments_ahead
from clearing.service import ClearingService

_sql = named_queries("forecast_accuracy")
DAYS_AHEAD: Final = 14
WINDOW: Final = timedelta(days=30)
_COUNTED: Final = timedelta(days=10)
_KEPT: Final = timedelta(days=60)
_COLUMNS: Final = ("taken_on", "party_id", "currency", "pay_on", "days_ahead", "amount_minor")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastError:
    """Over the days of the window: how far payments were from their forecast, `ahead` of it, in minor units.

    `ahead` is "day" (the last forecast before the day) or "terms" (as many clearing days as the party's
    terms). The promise is an error of 0.
    """

    ahead: str
    currency: str
    error_minor: int
    paid_minor: int
    payments: int


async def take_snapshot(connection: Connection, clearing: ClearingService, *, now: datetime) -> bool:
    """Store today's forecast; False if it was taken before. A day is a day of UTC."""
    today = now.date()
    if await _sql.take(connection, day=today, now=now) is None:
        return False
    lines = await clearing.forecast(connection, now=now, days=DAYS_AHEAD)
    payments = expected(
        payments_ahead(lines, today=today),
        parties=dict(await clearing.parties(connection)),
        calendars=reference.calendars(),
        today=today,
    )
    await connection.copy_records_to_table(
        "forecast_snapshot",
        schema_name="clearing",
        columns=_COLUMNS,
        records=[
            (today, one.party_id, one.currency, one.pay_on, one.days_ahead, one.amount_minor)
            for one in payments
        ],
    )
    await _sql.forget(connection, day=today - _KEPT)
    return True


async def measure(connection: Connection, *, now: datetime) -> None:
    """Count the errors of the last days anew: what the bank has answered since is in."""
    today = now.date()
    await _sql.forget_errors(connection, since=today - _COUNTED)
    await _sql.measure(connection, since=today - _COUNTED, until=today)


async def errors(connection: Connection, *, now: datetime) -> list[ForecastError]:
    """How far forecasts of the last 30 days were from what was paid, as it was counted last."""
    today = now.date()
    found = await rows(_sql.errors(connection, since=today - WINDOW, until=today))
    return [ForecastError(**dict(row.items())) for row in found]
