"""`networkcore status`: what is queued, due and stuck, at a glance or for a monitor."""

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from clearing.payouts.ageing import GIVEN_UP_AFTER_DAYS
from gateway.config import load_database_url, load_inbox_path
from gateway.database import connect, market_anchor, named_queries
from gateway.ids import format_id
from gateway.lanes.bank_watch import bank_alarms
from gateway.lanes.fx_rates import rate_alarms
from gateway.migrations import pending
from gateway.store.promise import Promise, read_promise

_STATUS_STUCK: Final = 1
_SHOWN: Final = 10
# An outcome still unknown after a day is an alarm; an errand this late means that no worker runs.
_UNKNOWN_ALARM: Final = timedelta(hours=24)
_LATE: Final = timedelta(minutes=5)
# A difference older than this is no longer a matter of waiting.
_DIFFERENCE_ALARM: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One look at the queues. `alarms` are sentences; none means that nothing needs a person."""

    pending_migrations: tuple[str, ...]
    errands: tuple[dict[str, Any], ...]
    open_calls: tuple[dict[str, Any], ...]
    deliveries: dict[str, Any]
    parked: tuple[dict[str, Any], ...]
    alarms: tuple[str, ...]
    promise: dict[str, Any]


@click.command(name="status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def command(*, as_json: bool) -> None:
    """Show what is queued, due and stuck in DATABASE_URL; exit status 1 if something needs a person."""
    dsn = load_database_url(os.environ)
    path = load_inbox_path(os.environ)
    inbox = None if path is None else Path(path)
    status = asyncio.run(read_status(dsn, wall_now=datetime.now(UTC), inbox=inbox))
    if as_json:
        click.echo(json.dumps(status_json(status)))
    else:
        show(status, Console())
    if status.alarms:
        sys.exit(_STATUS_STUCK)


async def read_status(dsn: str, *, wall_now: datetime, inbox: Path | None = None) -> Status:
    """Return the state of the queues at `wall_now`; `inbox` is where the bank's messages come in.

    What is due and overdue is counted at business time, which a simulated market sets.

    Raises:
        DatabaseUnreachableError: no PostgreSQL answers at `dsn`.
        MigrationError: the database's history is not the files' history.
    """
    missing = tuple(str(migration) for migration in await pending(dsn))
    if missing:
        alarms = (f"{len(missing)} migrations are pending: run networkcore migrate",)
        return Status(
            pending_migrations=missing,
            errands=(),
            open_calls=(),
            deliveries={},
            parked=(),
            alarms=alarms,
            promise={},
        )
    sql = named_queries("gateway", "status.sql")
    async with connect(dsn, application="networkcore status") as connection:
        errands = tuple([dict(row) async for row in sql.errands(connection, wall_now=wall_now)])
        calls = tuple([dict(row) async for row in sql.open_calls(connection)])
        deliveries = dict(await sql.deliveries(connection, wall_now=wall_now))
        parked = tuple([_parked(row) async for row in sql.parked_errands(connection, shown=_SHOWN)])
        anchor = await market_anchor(connection)
        now = wall_now if anchor is None else anchor.business_time(wall_now)  # money's days are business days
        promise = await read_promise(connection, now=now)
        bank = await bank_alarms(connection, inbox=inbox, wall_now=wall_now)
        rates = await rate_alarms(connection, wall_now=now)
    return Status(
        pending_migrations=(),
        errands=errands,
        open_calls=calls,
        deliveries=deliveries,
        parked=parked,
        alarms=(
            *_alarms(errands=errands, calls=calls, deliveries=deliveries, wall_now=wall_now),
            *promise_alarms(promise, today=now.date()),
            *bank,
            *rates,
        ),
        promise=promise_json(promise) | {"exchange_rate_age_days": rate_age_days(promise, now=now)},
    )


def status_json(status: Status) -> dict[str, Any]:
    """The status as JSON-ready values; times in ISO 8601, UTC."""
    return {
        "ok": not status.alarms,
        "alarms": list(status.alarms),
        "pending_migrations": list(status.pending_migrations),
        "errands": [_plain(row) for row in status.errands],
        "open_calls": [_plain(row) for row in status.open_calls],
        "deliveries": status.deliveries,
        "parked": [_plain(row) for row in status.parked],
        "promise": {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in status.promise.items()
        },
    }


def show(status: Status, console: Console) -> None:
    """The status as tables, the alarms last."""
    errands = Table("errand", "waiting", "due", "oldest due", "parked", title="Errands")
    for row in status.errands:
        errands.add_row(
            *(str(_plain(row)[key] or "-") for key in ("kind", "waiting", "due", "oldest_due_at", "parked"))
        )
    calls = Table("call", "open", "oldest", title="PSP calls without an answer")
    for row in status.open_calls:
        calls.add_row(*(str(value) for value in _plain(row).values()))
    for table in (errands, calls):
        if table.row_count:
            console.print(table)
    if status.deliveries:
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in status.deliveries.items())
        console.print(f"webhooks: {told}")
    for line in promise_lines(status.promise):
        console.print(line)
    if (age := status.promise.get("exchange_rate_age_days")) is not None:
        console.print(f"newest exchange rate: {age} days old")
    for row in status.parked:
        console.print(f"parked {row['kind']} {row['session'] or row['id']}: {row['error']}", markup=False)
    for alarm in status.alarms:
        console.print(alarm, style="red", markup=False)
    if not status.alarms:
        console.print("nothing needs a person", style="green")


def _parked(row: Any) -> dict[str, Any]:
    return {
        "kind": row["kind"],
        "id": str(row["id"]),
        "session": format_id("ses", row["session_id"]) if row["session_id"] is not None else None,
        "attempts": row["attempts"],
        "error": row["last_error"],
        "parked_at": row["parked_at"],
    }


def _alarms(
    *,
    errands: tuple[dict[str, Any], ...],
    calls: tuple[dict[str, Any], ...],
    deliveries: dict[str, Any],
    wall_now: datetime,
) -> list[str]:
    found = [f"{row['parked']} {row['kind']} errands gave up" for row in errands if row["parked"]]
    found += [
        f"{row['kind']} errands are due since {row['oldest_due_at']:%Y-%m-%d %H:%M} UTC: does a worker run?"
        for row in errands
        if row["oldest_due_at"] is not None and row["oldest_due_at"] < wall_now - _LATE
    ]
    found += [
        f"the outcome of a {row['kind']} is unknown for more than 24 h: ask the PSP"
        for row in calls
        if row["oldest_at"] < wall_now - _UNKNOWN_ALARM
    ]
    if deliveries["failing_endpoints"]:
        found.append(f"{deliveries['failing_endpoints']} webhook endpoints keep failing")
    return found


def promise_alarms(promise: Promise, *, today: date) -> list[str]:
    """What of the promise needs a person, one sentence each."""
    found = [
        (
            f"{row['differences']} {row['type']} differences of {row['leg']} stand since {row['oldest']}: "
            f"{row['owner']}"
        )
        for row in promise.differences
        if row["oldest"] < today - _DIFFERENCE_ALARM
    ]
    found += [
        f"{row['payments']} payments over the {row['rail']} have no known outcome for more than 24 h"
        for row in promise.payments
        if row["state"] == "outcome_unknown" and row["oldest"].date() < today - _UNKNOWN_ALARM
    ]
    if promise.unsent_files:
        found.append(f"{promise.unsent_files} payment files are not sent: networkcore reconcile payment-file")
    found += [
        f"{row['minor']} {row['currency']} stand in suspense since {row['oldest']}: {row['owner']}"
        for row in promise.suspense
        if row["oldest"] < today - _DIFFERENCE_ALARM
    ]
    found += [
        f"{one.party_id} owes {one.debt_minor} {one.currency}, {one.age_days} days old: "
        "networkcore reconcile debts"
        for one in promise.debts
        if one.age_days > GIVEN_UP_AFTER_DAYS
    ]
    found += [
        f"payments were off by {one.error_minor} {one.currency} from the forecast of the day before"
        for one in promise.forecast_errors
        if one.ahead == "day" and one.error_minor
    ]
    if promise.decisions_waiting:
        found.append(f"{promise.decisions_waiting} bookings wait for a second person")
    if promise.awaiting_release:
        found.append(f"{promise.awaiting_release} payments wait for two people")
    return found


def rate_age_days(promise: Promise, *, now: datetime) -> int | None:
    """How old the newest exchange rate is; None where there is none."""
    return None if promise.newest_rate is None else max(0, (now.date() - promise.newest_rate).days)


def promise_json(promise: Promise) -> dict[str, Any]:
    """The promise as JSON-ready values; money in minor units."""
    return {
        "paid_by_due_date": f"{promise.ten_thousandths_on_time / 100:.2f} %",
        "on_time": promise.on_time,
        "late": promise.late,
        "overdue": promise.overdue,
        "overdue_minor": dict(promise.overdue_minor),
        "differences": sum(row["differences"] for row in promise.differences),
        "oldest_difference": min((row["oldest"] for row in promise.differences), default=None),
        "reconciled_at": promise.reconciled_at,
        "oldest_undelivered_event": promise.oldest_event_at,
        "awaiting_release": promise.awaiting_release,
        "unsent_files": promise.unsent_files,
        "forecast_error_minor": {
            f"{one.currency} {one.ahead}": one.error_minor for one in promise.forecast_errors
        },
        "debt_minor": _sums((one.currency, one.debt_minor) for one in promise.debts),
        "suspense_minor": _sums((row["currency"], row["minor"]) for row in promise.suspense),
        "bank_unexplained_minor": {one.currency: one.unexplained_minor for one in promise.bank},
        "decisions_waiting": promise.decisions_waiting,
    }


def promise_lines(promise: dict[str, Any]) -> list[str]:
    """The promise in a line or two; none where nothing was ever due."""
    if not promise or not (promise["on_time"] + promise["late"] + promise["overdue"]):
        return []
    return [
        (
            f"paid by the due date in 30 days: {promise['paid_by_due_date']} "
            f"({promise['on_time']} on time, {promise['late']} late, {promise['overdue']} open)"
        ),
        f"differences that stand: {promise['differences']}",
        f"off the forecast of the day before: {_told(promise['forecast_error_minor'], ' day')}",
        f"owed by parties: {_told(promise['debt_minor'])}; in suspense: {_told(promise['suspense_minor'])}",
    ]


def _sums(figures: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for currency, minor in figures:
        sums[currency] = sums.get(currency, 0) + minor
    return sums


def _told(figures: dict[str, int], ending: str = "") -> str:
    """Minor units by currency in words."""
    told = [
        f"{minor} {name.removesuffix(ending)}" for name, minor in figures.items() if name.endswith(ending)
    ]
    return ", ".join(told) or "nothing"


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
