"""The promise as Prometheus metrics: paid by the due date, late, unreconciled, money per class of account.

Owns: names, help texts and labels. Must not know how a figure comes about. Sums of money are gauges of minor
units: exact up to 2^53 of them, and for alerts only; the books are asked for a figure that counts. Figures
are read anew at most every 15 seconds.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from gateway.database import transaction
from gateway.http.services import ApiServices
from gateway.store.promise import Promise, read_promise

_FRESH: Final = timedelta(seconds=15)
_PREFIX: Final = "networkcore_"


@dataclass(slots=True, kw_only=True)
class PromiseMetrics:
    """The last answer, and the lock that keeps a second scraper from asking meanwhile."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    text: bytes = b""
    until: datetime | None = None

    async def read(self, services: ApiServices) -> bytes:
        """The figures in text form, at most 15 seconds old."""
        async with self.lock:
            wall = services.clock.wall_now()
            if self.until is None or wall >= self.until:
                async with transaction(services.pool, isolation="repeatable_read") as connection:
                    promise = await read_promise(connection, now=services.now())
                self.text = render(promise, now=services.now())
                self.until = wall + _FRESH
            return self.text


def render(promise: Promise, *, now: datetime) -> bytes:
    """Every metric in text form. Money is in minor units; ages are in seconds of business time."""
    registry = CollectorRegistry()
    _one(registry, "paid_by_due_date_ratio", "Share of sums due in 30 days that were paid by their day.",
         promise.ten_thousandths_on_time / 10_000)  # fmt: skip
    _labeled(
        registry, "overdue_minor_units", "Due before today, neither paid nor on its way.", ["currency"],
        {(currency,): minor for currency, minor in promise.overdue_minor.items()},
    )  # fmt: skip
    _labeled(
        registry, "payments", "Payments to parties that have not ended.", ["state", "rail"],
        {(row["state"], row["rail"]): row["payments"] for row in promise.payments},
    )  # fmt: skip
    _labeled(
        registry, "payments_oldest_seconds", "Age of the oldest payment that has not ended.",
        ["state", "rail"],
        {(row["state"], row["rail"]): (now - row["oldest"]).total_seconds() for row in promise.payments},
    )  # fmt: skip
    _one(
        registry, "payments_awaiting_release", "Payments that wait for two people.", promise.awaiting_release
    )
    _one(registry, "payment_files_unsent", "Payment files recorded and not sent.", promise.unsent_files)
    _labeled(
        registry, "reconciliation_differences", "Differences that stand.", ["leg", "type", "owner"],
        {(row["leg"], row["type"], row["owner"]): row["differences"] for row in promise.differences},
    )  # fmt: skip
    oldest: list[date] = [row["oldest"] for row in promise.differences]
    _one(registry, "reconciliation_oldest_days", "Age of the oldest difference in days.",
         max(0, (now.date() - min(oldest)).days) if oldest else 0)  # fmt: skip
    _one(registry, "reconciliation_last_run_seconds", "Since the last comparison; -1: none yet.",
         _age(promise.reconciled_at, now, none=-1))  # fmt: skip
    _one(registry, "event_oldest_undelivered_seconds", "Age of the oldest event not acknowledged by all.",
         _age(promise.oldest_event_at, now, none=0))  # fmt: skip
    accounts: dict[tuple[str, ...], float] = {key: minor for key, minor in promise.account_minor.items()}  # noqa: C416 - widens the key's type
    _labeled(
        registry, "account_minor_units", "Balance by class of account, credits minus debits.",
        ["class", "currency"], accounts,
    )  # fmt: skip
    _decided(registry, promise, now=now)
    return generate_latest(registry)


def _decided(registry: CollectorRegistry, promise: Promise, *, now: datetime) -> None:
    """What people look after: forecasts that were off, debts by age, suspense, the bank's balance."""
    _labeled(
        registry, "forecast_error_minor_units",
        "Over 30 days, how far payments were from their forecast: a day ahead, and the party's terms ahead.",
        ["currency", "ahead"],
        {(one.currency, one.ahead): one.error_minor for one in promise.forecast_errors},
    )  # fmt: skip
    _labeled(
        registry, "forecast_error_ratio", "The same as a share of what was paid.", ["currency", "ahead"],
        {
            (one.currency, one.ahead): one.error_minor / max(1, one.paid_minor)
            for one in promise.forecast_errors
        },
    )  # fmt: skip
    owed: dict[tuple[str, ...], float] = {}
    for debt in promise.debts:
        for bucket, minor in debt.buckets:
            owed[debt.currency, bucket] = owed.get((debt.currency, bucket), 0) + minor
    _labeled(
        registry, "debt_minor_units", "What parties owe, by age in days.", ["currency", "age_days"], owed
    )
    _labeled(
        registry, "suspense_minor_units", "Money without a home, by owner.",
        ["owner", "currency", "direction"],
        {(row["owner"], row["currency"], row["direction"]): row["minor"] for row in promise.suspense},
    )  # fmt: skip
    _labeled(
        registry, "suspense_oldest_days", "Age of the oldest sum without a home.",
        ["owner", "currency", "direction"],
        {
            (row["owner"], row["currency"], row["direction"]): max(0, (now.date() - row["oldest"]).days)
            for row in promise.suspense
        },
    )  # fmt: skip
    _one(registry, "exchange_rate_age_days", "Age of the newest exchange rate in days; -1: there is none.",
         -1 if promise.newest_rate is None else max(0, (now.date() - promise.newest_rate).days))  # fmt: skip
    _one(registry, "decisions_waiting", "Bookings that wait for a second person.", promise.decisions_waiting)
    _labeled(
        registry, "bank_unexplained_minor_units", "What our books have more than the bank's balance shows.",
        ["currency"], {(one.currency,): one.unexplained_minor for one in promise.bank},
    )  # fmt: skip


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
