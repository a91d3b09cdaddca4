"""`networkcore status`: queues, overdue work and exceptions, for a person or a monitor.

Owns what raises an alert and its sentence. Must not know how a figure is computed.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from clearing.receivables.ageing import WRITE_OFF_AFTER_DAYS
from clearing.reporting.settlement_sla import SettlementSla, read_settlement_sla
from clearing.services import build_clearing
from gateway import status_repository
from gateway.audit_run_repository import AuditRun, find_latest_run
from gateway.cli.clock import offline_now
from gateway.cli.tables import open_console
from gateway.config import load_database_url, load_inbox_path
from gateway.database import connect
from gateway.exceptions.presenter import PREFIX
from gateway.exceptions.repository import ExceptionFilter, OpenExceptionCount
from gateway.exceptions.rules import KINDS, ExceptionRecord
from gateway.exceptions.service import ExceptionService
from gateway.ids import format_id
from gateway.jobs.bank_alerts import list_bank_alerts
from gateway.jobs.rate_alerts import list_rate_alerts
from gateway.jobs.shard_owners import ShardSummary, list_shard_owners, summarize
from gateway.migrations import list_pending
from gateway.partners.market_clock_repository import load_market_anchor
from gateway.personal_data import retention_service
from gateway.personal_data.retention_service import OVERDUE_AFTER
from gateway.webhooks.repository import find_oldest_undelivered_event

_STATUS_STUCK: Final = 1
_SHOWN: Final = 10
# A task this late means that no worker runs.
_LATE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemStatus:
    """The queues at one time. `alerts` are sentences; none means that nothing needs a person.

    `exceptions` are the newest of the queue; `exception_counts` says how many of each kind are open.
    """

    pending_migrations: tuple[str, ...]
    tasks: tuple[dict[str, Any], ...]
    open_psp_requests: tuple[dict[str, Any], ...]
    deliveries: dict[str, Any]
    exception_counts: dict[str, int]
    exceptions: tuple[dict[str, Any], ...]
    alerts: tuple[str, ...]
    settlement_sla: dict[str, Any]
    shards: dict[str, Any]


@click.command(name="status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not tables.")
def command(*, as_json: bool) -> None:
    """Show queues, overdue work and exceptions. Exit status 1 if something needs a person."""
    dsn = load_database_url(os.environ)
    path = load_inbox_path(os.environ)
    inbox = None if path is None else Path(path)
    status = asyncio.run(read_status(dsn, wall_now=offline_now(), inbox=inbox))
    if as_json:
        click.echo(json.dumps(status_json(status)))
    else:
        show(status, open_console())
    if status.alerts:
        sys.exit(_STATUS_STUCK)


async def read_status(dsn: str, *, wall_now: datetime, inbox: Path | None = None) -> SystemStatus:
    """Return the state of the queues at `wall_now`; `inbox` is where the bank's messages arrive.

    Tasks and requests are measured in wall time, days of money in business time.

    Raises:
        DatabaseUnreachableError: no PostgreSQL answers at `dsn`.
        MigrationError: the database's history is not the files' history.
    """
    missing = tuple(str(migration) for migration in await list_pending(dsn))
    if missing:
        alerts = (f"{len(missing)} migrations are pending: run networkcore migrate",)
        return SystemStatus(
            pending_migrations=missing,
            tasks=(),
            open_psp_requests=(),
            deliveries={},
            exception_counts={},
            exceptions=(),
            alerts=alerts,
            settlement_sla={},
            shards={},
        )
    async with connect(dsn, application="networkcore status") as connection:
        tasks = tuple(dict(row) for row in await status_repository.count_tasks(connection, wall_now=wall_now))
        requests = tuple(dict(row) for row in await status_repository.open_psp_requests(connection))
        shards = summarize(await list_shard_owners(connection, wall_now=wall_now), wall_now=wall_now)
        deliveries = dict(await status_repository.count_deliveries(connection, wall_now=wall_now))
        anchor = await load_market_anchor(connection)
        now = wall_now if anchor is None else anchor.business_time(wall_now)  # money's days are business days
        queue = ExceptionService(clearing=build_clearing())
        async with connection.transaction():
            await queue.refresh(connection, now=now, wall_now=wall_now)
            counts = await queue.count_open(connection, now=now)
            newest = await queue.list_exceptions(connection, ExceptionFilter(), limit=_SHOWN)
        sla = await read_settlement_sla(connection, now=now)
        oldest_event_at = await find_oldest_undelivered_event(connection)
        audited = await find_latest_run(connection)
        unremoved_s = await retention_service.age_seconds(connection, now=now, wall_now=wall_now)
        bank = list_bank_alerts(inbox=inbox, wall_now=wall_now)
        rates = await list_rate_alerts(connection, now=now)
    return SystemStatus(
        pending_migrations=(),
        tasks=tasks,
        open_psp_requests=requests,
        deliveries=deliveries,
        exception_counts={one.kind.value: one.open for one in counts},
        exceptions=tuple(_exception(one) for one in newest),
        alerts=(
            *exception_alerts(counts),
            *_alerts(tasks=tasks, wall_now=wall_now),
            *settlement_sla_alerts(sla),
            *audit_alerts(audited),
            *retention_alerts(unremoved_s),
            *bank,
            *rates,
        ),
        settlement_sla=settlement_sla_json(sla, oldest_event_at=oldest_event_at)
        | {"exchange_rate_age_days": rate_age_days(sla, now=now)},
        shards=shards_json(shards),
    )


def status_json(status: SystemStatus) -> dict[str, Any]:
    """The status as JSON-ready values; times in ISO 8601, UTC."""
    return {
        "ok": not status.alerts,
        "alerts": list(status.alerts),
        "pending_migrations": list(status.pending_migrations),
        "tasks": [_plain(row) for row in status.tasks],
        "open_psp_requests": [_plain(row) for row in status.open_psp_requests],
        "shards": status.shards,
        "deliveries": status.deliveries,
        "exception_counts": status.exception_counts,
        "exceptions": [_plain(row) for row in status.exceptions],
        "settlement_sla": {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in status.settlement_sla.items()
        },
    }


def show(status: SystemStatus, console: Console) -> None:
    """The status as tables, the alerts last."""
    tasks = Table("task", "waiting", "due", "oldest due", "exceptions", title="Tasks")
    for row in status.tasks:
        tasks.add_row(
            *(
                str(_plain(row)[key] or "-")
                for key in ("kind", "waiting", "due", "oldest_due_at", "exceptions")
            )
        )
    requests = Table("request", "open", "oldest", title="PSP requests without an answer")
    for row in status.open_psp_requests:
        requests.add_row(*(str(value) for value in _plain(row).values()))
    for table in (tasks, requests):
        if table.row_count:
            console.print(table)
    if status.shards:
        console.print(shards_line(status.shards), markup=False)
    if status.deliveries:
        figures = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in status.deliveries.items())
        console.print(f"webhooks: {figures}")
    for line in settlement_sla_lines(status.settlement_sla):
        console.print(line)
    if (age := status.settlement_sla.get("exchange_rate_age_days")) is not None:
        console.print(f"newest exchange rate: {age} days old")
    for row in status.exceptions:
        console.print(
            f"exception {row['id']}: {row['kind']} {row['subject']}: {row['reason']}: {row['detail']}",
            markup=False,
        )
    for alert in status.alerts:
        console.print(alert, style="red", markup=False)
    if not status.alerts:
        console.print("nothing needs a person", style="green")


def shards_json(shards: ShardSummary) -> dict[str, Any]:
    """Who owns how many shards, as JSON-ready values."""
    return {
        "owned": dict(shards.owned),
        "without_owner": shards.without_owner,
        "leases_taken_over": shards.taken_over,
    }


def shards_line(shards: dict[str, Any]) -> str:
    """The owners of the shards in one line."""
    owned = ", ".join(f"{worker} {count}" for worker, count in shards["owned"].items())
    return f"shards: {owned or 'no worker owns any'}; without an owner: {shards['without_owner']}"


def _exception(one: ExceptionRecord) -> dict[str, Any]:
    return {
        "id": format_id(PREFIX, one.id),
        "kind": one.kind.value,
        "subject": one.subject_id,
        "owner": one.owner,
        "since": one.since,
        "reason": one.reason,
        "detail": one.detail,
    }


def exception_alerts(counts: Sequence[OpenExceptionCount]) -> list[str]:
    """One sentence for each kind of exception that is open; none means that the queue is empty."""
    return [
        f"{KINDS[one.kind].title}: {one.open}, the oldest since {one.oldest_since:%F %H:%M} UTC"
        f"{f', {one.overdue} overdue' if one.overdue else ''}: "
        f"networkcore exceptions list --kind {one.kind.value}"
        for one in counts
    ]


def _alerts(*, tasks: tuple[dict[str, Any], ...], wall_now: datetime) -> list[str]:
    return [
        f"{row['kind']} tasks are overdue since {row['oldest_due_at']:%F %H:%M} UTC: is a worker running?"
        for row in tasks
        if row["oldest_due_at"] is not None and row["oldest_due_at"] < wall_now - _LATE
    ]


def settlement_sla_alerts(sla: SettlementSla) -> list[str]:
    """What of the settlement figures needs a person beside the exceptions, one sentence each."""
    found: list[str] = []
    found += [
        f"{one.party_id} owes {one.receivable_minor} {one.currency}, {one.age_days} days old: "
        "networkcore reconcile receivables"
        for one in sla.receivables
        if one.age_days > WRITE_OFF_AFTER_DAYS
    ]
    found += [
        f"disbursements differed by {one.error_minor} {one.currency} from the forecast of the day before"
        for one in sla.forecast_errors
        if one.ahead == "day" and one.error_minor
    ]
    return found


def audit_alerts(run: AuditRun | None) -> list[str]:
    """What the last audit says; nothing where there was none, or where every figure agreed."""
    if run is None or run.result == "agrees":
        return []
    came_to = "found differences" if run.result == "differs" else "could not compare everything"
    checks = ", ".join(run.checks)
    return [f"the audit of {run.finished_at:%F %H:%M} UTC {came_to} ({checks}): networkcore audit"]


def retention_alerts(age_s: float) -> list[str]:
    """That personal data whose time is over are still there; nothing while the retention runs each day."""
    if age_s <= OVERDUE_AFTER.total_seconds():
        return []
    return [f"the retention has not run for {int(age_s // 86_400)} days: networkcore retention"]


def rate_age_days(sla: SettlementSla, *, now: datetime) -> int | None:
    """How old the newest exchange rate is; None where there is none."""
    return None if sla.newest_rate is None else max(0, (now.date() - sla.newest_rate).days)


def settlement_sla_json(sla: SettlementSla, *, oldest_event_at: datetime | None) -> dict[str, Any]:
    """The settlement figures as JSON-ready values; money in minor units."""
    return {
        "paid_by_due_date": f"{sla.on_time_bps / 100:.2f} %",
        "on_time": sla.on_time,
        "late": sla.late,
        "overdue": sla.overdue,
        "overdue_minor": dict(sla.overdue_minor),
        "differences": sum(row["differences"] for row in sla.differences),
        "oldest_difference": min((row["oldest"] for row in sla.differences), default=None),
        "reconciled_at": sla.reconciled_at,
        "oldest_undelivered_event": oldest_event_at,
        "awaiting_approval": sla.awaiting_approval,
        "unsent_files": sla.unsent_files,
        "forecast_error_minor": {
            f"{one.currency} {one.ahead}": one.error_minor for one in sla.forecast_errors
        },
        "receivable_minor": _sums((one.currency, one.receivable_minor) for one in sla.receivables),
        "suspense_minor": _sums((row["currency"], row["minor"]) for row in sla.suspense),
        "bank_unexplained_minor": {one.currency: one.unexplained_minor for one in sla.bank},
        "approval_requests_pending": sla.approval_requests_pending,
    }


def settlement_sla_lines(sla: dict[str, Any]) -> list[str]:
    """The settlement figures in a few lines; none where nothing was ever due."""
    if not sla or not (sla["on_time"] + sla["late"] + sla["overdue"]):
        return []
    return [
        (
            f"paid by the due date in 30 days: {sla['paid_by_due_date']} "
            f"({sla['on_time']} on time, {sla['late']} late, {sla['overdue']} open)"
        ),
        f"open differences: {sla['differences']}",
        f"difference from the forecast of the day before: {_amounts(sla['forecast_error_minor'], ' day')}",
        f"receivables: {_amounts(sla['receivable_minor'])}; in suspense: {_amounts(sla['suspense_minor'])}",
    ]


def _sums(figures: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for currency, minor in figures:
        sums[currency] = sums.get(currency, 0) + minor
    return sums


def _amounts(figures: dict[str, int], ending: str = "") -> str:
    """Minor units by currency as text."""
    found = [
        f"{minor} {name.removesuffix(ending)}" for name, minor in figures.items() if name.endswith(ending)
    ]
    return ", ".join(found) or "none"


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
