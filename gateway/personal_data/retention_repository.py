"""Personal data whose time is over, in PostgreSQL: counted, and removed a batch at a time.

Owns: the queries of each rule and the runs' record. Must not know: how long a rule keeps its rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.ids import SHARD_COUNT
from gateway.personal_data.blotting import blot_cdr

_sql: Final[Any] = named_queries("gateway", "retention.sql")
# By the name of a rule: what counts its due rows, and what removes a batch of them.
_QUERIES: Final[Mapping[str, tuple[Any, Any]]] = MappingProxyType(
    {
        "idempotency_key": (_sql.due_idempotency_key, _sql.apply_idempotency_key),
        "recent_authorization": (_sql.due_recent_authorization, _sql.apply_recent_authorization),
        "event": (_sql.due_event, _sql.apply_event),
        "delivery_attempt": (_sql.due_delivery_attempt, _sql.apply_delivery_attempt),
        "psp_event": (_sql.due_psp_event, _sql.apply_psp_event),
        "session": (_sql.due_session, _sql.apply_session),
        "payment_authorization": (_sql.due_payment_authorization, _sql.apply_payment_authorization),
        "refund": (_sql.due_refund, _sql.apply_refund),
        "dispute": (_sql.due_dispute, _sql.apply_dispute),
        "payment_method": (_sql.due_payment_method, _sql.apply_payment_method),
        "payment_method_setup": (_sql.due_payment_method_setup, _sql.apply_payment_method_setup),
        "ocpi_session": (_sql.due_ocpi_session, _sql.apply_ocpi_session),
        "ocpi_command": (_sql.due_ocpi_command, _sql.apply_ocpi_command),
        "ocpi_token_authorization": (_sql.due_ocpi_token_authorization, _sql.apply_ocpi_token_authorization),
        "ocpi_token": (_sql.due_ocpi_token, _sql.apply_ocpi_token),
        "ocpi_rejected_push": (_sql.due_ocpi_rejected_push, _sql.apply_ocpi_rejected_push),
        "ocpi_booking": (_sql.due_ocpi_booking, _sql.apply_ocpi_booking),
        "receipt_link": (_sql.due_receipt_link, _sql.apply_receipt_link),
        "invoice_link": (_sql.due_invoice_link, _sql.apply_invoice_link),
        "driver_payment": (_sql.due_driver_payment, _sql.apply_driver_payment),
        "request_log": (_sql.due_request_log, _sql.apply_request_log),
        "exception": (_sql.due_exception, _sql.apply_exception),
    }
)
RULES: Final = tuple(_QUERIES)
# Their rows lie in shards; a batch is taken from one after another.
_IN_SHARDS: Final = frozenset(
    {
        "delivery_attempt",
        "dispute",
        "event",
        "idempotency_key",
        "invoice_link",
        "payment_authorization",
        "psp_event",
        "receipt_link",
        "refund",
        "session",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueBefore:
    """The instant before which a rule's rows are due, in business and in wall time."""

    business: datetime
    wall: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRun:
    """A run that has ended, and the rows that it removed by rule. Times are wall time."""

    started_at: datetime
    finished_at: datetime
    removed: Mapping[str, int]


async def count_due(connection: Connection, rule: str, *, before: DueBefore) -> int:
    """How many rows of a rule are due."""
    due, _ = _QUERIES[rule]
    found: int = await due(connection, **_named(before, rule))
    return found


async def remove_batch(connection: Connection, rule: str, *, before: DueBefore, limit: int) -> int:
    """Remove at most `limit` rows of a rule; returns how many. What others hold is left out."""
    _, apply = _QUERIES[rule]
    named = _named(before, rule)
    if rule not in _IN_SHARDS:
        found: int = await apply(connection, limit=limit, **named)
        return found
    removed = 0
    for shard in range(SHARD_COUNT):
        removed += await apply(connection, shard=shard, limit=limit - removed, **named)
        if removed >= limit:
            break
    return removed


async def count_due_records(connection: Connection, *, limits: Mapping[str, datetime]) -> int:
    """How many billing records the law does not ask for any more; `limits` by country, "*" for others."""
    found: int = await _sql.due_billing_record(
        connection, countries=list(limits), befores=list(limits.values())
    )
    return found


async def blot_records(
    connection: Connection, *, limits: Mapping[str, datetime], now: datetime, limit: int
) -> int:
    """Blot the tokens of at most `limit` sessions' CDRs, and of as many that operators sent."""
    blotted = 0
    for shard in range(SHARD_COUNT):
        if blotted >= limit:
            break
        blotted += await _blot_shard(connection, shard, limits=limits, now=now, limit=limit - blotted)
    sent = [row async for row in _sql.cdrs_to_blot(connection, before=min(limits.values()), limit=limit)]
    for row in sent:
        await _sql.blot_cdr(
            connection,
            party_id=row["party_id"],
            cdr_key=row["cdr_key"],
            raw=blot_cdr(row["raw"]),
            now=now,
        )
    return blotted + len(sent)


async def _blot_shard(
    connection: Connection, shard: int, *, limits: Mapping[str, datetime], now: datetime, limit: int
) -> int:
    """Blot the tokens of at most `limit` sessions of a shard; returns how many."""
    due = _sql.sessions_to_blot(
        connection,
        shard=shard,
        countries=list(limits),
        befores=list(limits.values()),
        other_before=limits.get("*"),
        latest_before=max(limits.values()),
        limit=limit,
    )
    rows = [row async for row in due]
    if not rows:
        return 0
    for row in rows:
        await _sql.blot_session(connection, shard=shard, id=row["id"], cdr=blot_cdr(row["cdr"]), now=now)
    stated = _sql.statements_to_blot(connection, shard=shard, ids=[row["id"] for row in rows])
    blots = {"stated_usage": _sql.blot_stated_usage, "provisional_usage": _sql.blot_provisional_usage}
    for one in [row async for row in stated]:
        await blots[one["place"]](connection, shard=shard, id=one["id"], cdr=blot_cdr(one["cdr"]), now=now)
    return len(rows)


async def start_run(connection: Connection, run_id: UUID, *, now: datetime) -> None:
    """Record that a run begins."""
    await _sql.start_run(connection, id=run_id, now=now)


async def record_removed(connection: Connection, run_id: UUID, *, rule: str, count: int) -> None:
    """Add a batch to a run's figures, in the transaction that removed it."""
    await _sql.record_removed(connection, id=run_id, rule=rule, count=count)


async def finish_run(connection: Connection, run_id: UUID, *, now: datetime) -> None:
    """Record that a run has removed all that was due."""
    await _sql.finish_run(connection, id=run_id, now=now)


async def find_latest_run(connection: Connection) -> RetentionRun | None:
    """The run that ended last; None where none has."""
    row = await _sql.latest_run(connection)
    return None if row is None else RetentionRun(**dict(row))


async def find_beginning(connection: Connection) -> datetime | None:
    """When this system began, business time; None where it has not."""
    found: datetime | None = await _sql.first_data_at(connection)
    return found


async def delete_old_runs(connection: Connection, *, before: datetime) -> None:
    """Delete the record of runs from before a time."""
    await _sql.delete_old_runs(connection, before=before)


_WALL_ALONE: Final = frozenset({"ocpi_command"})
_BOTH: Final = frozenset({"event"})
_BY_WALL: Final = frozenset({"delivery_attempt", "idempotency_key", "driver_payment", "request_log"})


def _named(before: DueBefore, rule: str) -> Mapping[str, Any]:
    if rule in _WALL_ALONE:
        return {"wall_before": before.wall}
    if rule in _BOTH:
        return {"before": before.business, "wall_before": before.wall}
    return {"before": before.wall if rule in _BY_WALL else before.business}


def list_rules() -> Sequence[str]:
    """The rules that are carried out here, in the order in which rows may go."""
    return RULES
