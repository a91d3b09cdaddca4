"""The settlement SLA as Prometheus metrics: paid in time, late, unreconciled, money per class of account.

Owns: names, help texts and labels. Must not know how a figure comes about. Sums of money are gauges of minor
units: exact up to 2^53 of them, and for alerts only; a binding figure comes from the ledger. Figures are
read again at most every 15 seconds.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from clearing.reporting.settlement_sla import SettlementSla, read_settlement_sla
from gateway.api.services import ApiServices
from gateway.audit_run_repository import AUDIT_RESULTS, AuditRun, find_latest_run
from gateway.database import transaction
from gateway.exception_kinds import ExceptionKind
from gateway.exceptions.repository import OpenExceptionCount
from gateway.personal_data import retention_service
from gateway.webhooks.repository import find_oldest_undelivered_event

_FRESH: Final = timedelta(seconds=15)
_PREFIX: Final = "networkcore_"


@dataclass(slots=True, kw_only=True)
class SettlementSlaMetrics:
    """The last answer, and the lock that keeps a second scraper from asking meanwhile."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    text: bytes = b""
    until: datetime | None = None

    async def read(self, services: ApiServices) -> bytes:
        """The figures in text form, at most 15 seconds old."""
        async with self.lock:
            wall = services.clock.wall_now()
            if self.until is None or wall >= self.until:
                waiting = await services.exceptions.count_open()
                limits = (await services.exceptions.age_limits()).values
                async with transaction(services.pool, isolation="repeatable_read") as connection:
                    sla = await read_settlement_sla(connection, now=services.now())
                    oldest = await find_oldest_undelivered_event(connection)
                    audited = await find_latest_run(connection)
                    unremoved_s = await retention_service.age_seconds(
                        connection, now=services.now(), wall_now=wall
                    )
                self.text = render(sla, oldest_event_at=oldest, now=services.now(), waiting=waiting)
                self.text += render_age_limits(limits)
                self.text += render_audit(audited, wall_now=wall)
                self.text += render_retention(age_s=unremoved_s)
                self.until = wall + _FRESH
            return self.text


def render(
    sla: SettlementSla,
    *,
    oldest_event_at: datetime | None,
    now: datetime,
    waiting: Sequence[OpenExceptionCount] = (),
) -> bytes:
    """Every metric in text form. Money is in minor units; ages are in seconds of business time."""
    registry = CollectorRegistry()
    _one(
        registry,
        "paid_by_due_date_ratio",
        "Share of sums due in 30 days that were paid by their day.",
        sla.on_time_bps / 10_000,
    )
    _labeled(
        registry,
        "overdue_minor_units",
        "Due before today, neither paid nor on its way.",
        ["currency"],
        {(currency,): minor for currency, minor in sla.overdue_minor.items()},
    )
    _labeled(
        registry,
        "disbursements",
        "Disbursements that have not ended.",
        ["state", "rail"],
        {(row["state"], row["rail"]): row["disbursements"] for row in sla.disbursements},
    )
    _labeled(
        registry,
        "disbursements_oldest_seconds",
        "Age of the oldest disbursement that has not ended.",
        ["state", "rail"],
        {(row["state"], row["rail"]): (now - row["oldest"]).total_seconds() for row in sla.disbursements},
    )
    _controlled(registry, sla, oldest_event_at=oldest_event_at, now=now)
    _decided(registry, sla, now=now)
    _exceptions(registry, waiting, now=now)
    return generate_latest(registry)


def render_audit(run: AuditRun | None, *, wall_now: datetime) -> bytes:
    """What the last `networkcore audit` came to, and how long ago, in seconds of wall time."""
    registry = CollectorRegistry()
    _labeled(
        registry,
        "audit_result",
        "1 for what the last audit came to.",
        ["result"],
        {(result,): float(run is not None and run.result == result) for result in AUDIT_RESULTS},
    )
    _one(
        registry,
        "audit_last_run_seconds",
        "Since the last audit; -1: none yet.",
        -1 if run is None else max(0.0, (wall_now - run.finished_at).total_seconds()),
    )
    return generate_latest(registry)


def render_retention(*, age_s: float) -> bytes:
    """How long ago personal data whose time was over were removed last, in seconds of wall time."""
    registry = CollectorRegistry()
    _one(
        registry,
        "retention_last_run_seconds",
        "Since the retention ended last; without a run, since this system began.",
        age_s,
    )
    return generate_latest(registry)


def _controlled(
    registry: CollectorRegistry, sla: SettlementSla, *, oldest_event_at: datetime | None, now: datetime
) -> None:
    """What is checked: approvals, payment files, reconciliation, deliveries, account balances."""
    _one(
        registry,
        "disbursements_awaiting_approval",
        "Disbursements that await approval.",
        sla.awaiting_approval,
    )
    _one(registry, "payment_files_unsent", "Payment files recorded and not sent.", sla.unsent_files)
    _labeled(
        registry,
        "reconciliation_differences",
        "Reconciliation differences that are open.",
        ["pair", "type", "owner"],
        {(row["pair"], row["type"], row["owner"]): row["differences"] for row in sla.differences},
    )
    oldest: list[date] = [row["oldest"] for row in sla.differences]
    _one(
        registry,
        "reconciliation_oldest_days",
        "Age of the oldest difference in days.",
        max(0, (now.date() - min(oldest)).days) if oldest else 0,
    )
    _one(
        registry,
        "reconciliation_last_run_seconds",
        "Since the last comparison; -1: none yet.",
        _age(sla.reconciled_at, now, none=-1),
    )
    _one(
        registry,
        "event_oldest_undelivered_seconds",
        "Age of the oldest event not acknowledged by all.",
        _age(oldest_event_at, now, none=0),
    )
    accounts: dict[tuple[str, ...], float] = {key: minor for key, minor in sla.account_minor.items()}  # noqa: C416 - widens the key's type
    _labeled(
        registry,
        "account_minor_units",
        "Balance by class of account, credits minus debits.",
        ["class", "currency"],
        accounts,
    )


def render_age_limits(limits: Mapping[ExceptionKind, timedelta]) -> bytes:
    """From which age exceptions of each kind are overdue."""
    registry = CollectorRegistry()
    _labeled(
        registry,
        "exception_age_limit_seconds",
        "Age from which an exception of the kind is overdue.",
        ["kind"],
        {(kind.value,): limit.total_seconds() for kind, limit in limits.items()},
    )
    return generate_latest(registry)


def _exceptions(registry: CollectorRegistry, waiting: Sequence[OpenExceptionCount], *, now: datetime) -> None:
    """What waits for a person; a kind of which nothing waits is 0."""
    known = {one.kind: one for one in waiting}
    _labeled(
        registry,
        "exceptions",
        "Open exceptions: what stopped and waits for a person.",
        ["kind"],
        {(kind.value,): known[kind].open if kind in known else 0 for kind in ExceptionKind},
    )
    _labeled(
        registry,
        "exceptions_overdue",
        "Open exceptions past the age limit of their kind.",
        ["kind"],
        {(kind.value,): known[kind].overdue if kind in known else 0 for kind in ExceptionKind},
    )
    _labeled(
        registry,
        "exception_oldest_seconds",
        "Age of the oldest open exception.",
        ["kind"],
        {
            (kind.value,): _age(known[kind].oldest_since if kind in known else None, now, none=0)
            for kind in ExceptionKind
        },
    )


def _decided(registry: CollectorRegistry, sla: SettlementSla, *, now: datetime) -> None:
    """What people handle: forecast errors, receivables by age, suspense, the bank's balance."""
    _labeled(
        registry,
        "forecast_error_minor_units",
        "Over 30 days, how far payments were from their forecast: a day ahead, and the party's terms ahead.",
        ["currency", "ahead"],
        {(one.currency, one.ahead): one.error_minor for one in sla.forecast_errors},
    )
    _labeled(
        registry,
        "forecast_error_ratio",
        "The same as a share of what was paid.",
        ["currency", "ahead"],
        {(one.currency, one.ahead): one.error_minor / max(1, one.paid_minor) for one in sla.forecast_errors},
    )
    owed: dict[tuple[str, ...], float] = {}
    for receivable in sla.receivables:
        for bucket, minor in receivable.buckets:
            owed[receivable.currency, bucket] = owed.get((receivable.currency, bucket), 0) + minor
    _labeled(
        registry,
        "receivable_minor_units",
        "What parties owe, by age in days.",
        ["currency", "age_days"],
        owed,
    )
    _labeled(
        registry,
        "suspense_minor_units",
        "Unallocated money, by owner.",
        ["owner", "currency", "direction"],
        {(row["owner"], row["currency"], row["direction"]): row["minor"] for row in sla.suspense},
    )
    _labeled(
        registry,
        "suspense_oldest_days",
        "Age of the oldest unallocated sum.",
        ["owner", "currency", "direction"],
        {
            (row["owner"], row["currency"], row["direction"]): max(0, (now.date() - row["oldest"]).days)
            for row in sla.suspense
        },
    )
    _one(
        registry,
        "exchange_rate_age_days",
        "Age of the newest exchange rate in days; -1: there is none.",
        -1 if sla.newest_rate is None else max(0, (now.date() - sla.newest_rate).days),
    )
    _one(
        registry,
        "approval_requests_pending",
        "Bookings that wait for a second person.",
        sla.approval_requests_pending,
    )
    _labeled(
        registry,
        "bank_unexplained_minor_units",
        "What our books have more than the bank's balance shows.",
        ["currency"],
        {(one.currency,): one.unexplained_minor for one in sla.bank},
    )


def _age(since: datetime | None, now: datetime, *, none: int) -> float:
    return none if since is None else max(0.0, (now - since).total_seconds())


def _one(registry: CollectorRegistry, name: str, about: str, value: float) -> None:
    Gauge(f"{_PREFIX}{name}", about, registry=registry).set(value)


def _labeled(
    registry: CollectorRegistry,
    name: str,
    about: str,
    labels: list[str],
    values: dict[tuple[str, ...], float],
) -> None:
    gauge = Gauge(f"{_PREFIX}{name}", about, labels, registry=registry)
    for key, value in values.items():
        gauge.labels(*key).set(value)
