"""Forecast accuracy: each day's forecast is stored and compared with what was paid.

Owns: when a snapshot is stored and for how long. Must not know: who reads the error. Every function takes the
connection; none commits.
"""

from datetime import datetime, timedelta
from typing import Final

from clearing.connection import Connection
from clearing.payouts import forecast_accuracy_repository as repository
from clearing.payouts.disbursement_service import DisbursementService
from clearing.payouts.forecast_accuracy import (
    ForecastDay,
    ForecastError,
    expected_payments,
    forecast_payments,
)
from clearing.reference_data import bundled_data

DAYS_AHEAD: Final = 14
WINDOW: Final = timedelta(days=30)
_MEASURED: Final = timedelta(days=10)
_RETENTION: Final = timedelta(days=60)


async def store_snapshot(
    connection: Connection, disbursements: DisbursementService, *, now: datetime
) -> bool:
    """Store today's forecast; False if it is stored already. A day is a day of UTC."""
    today = now.date()
    if not await repository.start_run(connection, today, now=now):
        return False
    lines = await disbursements.forecast(connection, now=now, days=DAYS_AHEAD)
    expected = expected_payments(
        forecast_payments(lines, today=today),
        parties=dict(await disbursements.load_parties(connection)),
        calendars=bundled_data.calendars(),
        today=today,
    )
    await repository.insert_snapshot(connection, today, expected)
    await repository.delete_snapshots(connection, before=today - _RETENTION)
    return True


async def measure(connection: Connection, *, now: datetime) -> None:
    """Compute the errors of the last days again, with the bank's answers since."""
    today = now.date()
    await repository.measure(connection, since=today - _MEASURED, until=today)


async def list_errors(connection: Connection, *, now: datetime) -> list[ForecastError]:
    """The distance of the last 30 days' forecasts from what was paid, as last computed."""
    today = now.date()
    return await repository.list_errors(connection, since=today - WINDOW, until=today)


async def list_days(
    connection: Connection, *, now: datetime, days: int, party_id: str | None
) -> list[ForecastDay]:
    """Forecast beside actual of so many days up to today, the latest first."""
    until = now.date() + timedelta(days=1)
    return await repository.list_days(
        connection, since=until - timedelta(days=days), until=until, party_id=party_id
    )
