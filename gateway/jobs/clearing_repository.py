"""The hand-over from capture to clearing as rows: tasks, captured sessions, tariffs, states, partners' views.

Owns: these statements and clearing's value of a captured session. Must not know: batches, how clearing works.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from clearing.captured_session import AuthorizationMethod, CapturedSession, FundingSource
from gateway.database import Connection, named_queries
from gateway.ids import shard_of
from gateway.jobs.task_queue import Task, task_of
from gateway.payments.records import AuthorizationRecord, CaptureRecord, SessionRecord
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.payments.usage_checks import BELOW_TARIFF
from gateway.payments.views import SessionView
from gateway.stored_tariffs import StoredTariff, StoredTariffs

_QUERIES: Final[Any] = named_queries("gateway", "clearing.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionMark:
    """The state of a session after its batch, `cleared` or `exception`, and a flag to add, if any."""

    session_id: UUID
    state: str
    flag: str = ""


async def plan_by_index(connection: Connection) -> None:
    """Have the transaction's statements planned for the tables' present size."""
    await _QUERIES.plan_by_index(connection)


async def find_due(
    connection: Connection, *, shards: Sequence[int], wall_now: datetime, batch: int
) -> list[Task]:
    """At most `batch` due tasks of these shards; nothing is locked."""
    rows = _QUERIES.find_due(connection, shards=list(shards), wall_now=wall_now, batch=batch)
    return [task_of(row) async for row in rows]


async def take(
    connection: Connection, tasks: Sequence[Task], *, fences: Mapping[int, int], wall_now: datetime
) -> list[Task]:
    """Delete tasks in the batch's transaction, under the fencing numbers of their shards; those it got."""
    ordered = sorted(tasks, key=lambda task: (task.shard, task.id))  # of two that want the same, one waits
    rows = _QUERIES.take(
        connection,
        shards=[task.shard for task in ordered],
        ids=[task.id for task in ordered],
        fences=[fences[task.shard] for task in ordered],
        wall_now=wall_now,
    )
    taken = {row["id"] async for row in rows}
    return [task for task in tasks if task.id in taken]


async def _lock_sessions(
    connection: Connection, named: Sequence[tuple[int, UUID]], *, by_shard: bool
) -> None:
    """Lock sessions in the order of their shards and ids: in one statement, or one for each shard."""
    if not by_shard:
        shards, ids = [shard for shard, _ in named], [session_id for _, session_id in named]
        await _QUERIES.lock_sessions(connection, shards=shards, ids=ids)
        return
    for shard in sorted({shard for shard, _ in named}):
        ids = [session_id for its_shard, session_id in named if its_shard == shard]
        await _QUERIES.lock_sessions_of_shard(connection, shard=shard, ids=ids)


async def load_captured_sessions(
    connection: Connection, tasks: Iterable[Task], *, tariffs: StoredTariffs, by_shard: bool
) -> list[CapturedSession]:
    """What clearing needs of the sessions that tasks name, each with its tariff; they are locked.

    `by_shard`: by a statement for each shard, as a distributed database locks rows.
    """
    named = [(task.shard, task.session_id) for task in tasks if task.session_id is not None]
    due = {"shards": [shard for shard, _ in named], "ids": [session_id for _, session_id in named]}
    await _lock_sessions(connection, named, by_shard=by_shard)
    found = _QUERIES.captured_sessions(connection, **due)
    rows = [row async for row in found]
    frozen = await tariffs.load(connection, [row["tariff_sha256"] for row in rows])
    return [captured_session(row, frozen[row["tariff_sha256"]]) for row in rows]


async def mark_sessions(
    connection: Connection, marks: Sequence[SessionMark], *, now: datetime
) -> dict[UUID, SessionRecord]:
    """Write the states of sessions after a batch; those that were in a state to get one, as they are now."""
    found = _QUERIES.mark_sessions(
        connection,
        shards=[shard_of(mark.session_id) for mark in marks],
        ids=[mark.session_id for mark in marks],
        states=[mark.state for mark in marks],
        flags=[mark.flag for mark in marks],
        now=now,
    )
    sessions = [SessionRecord.from_row(row) async for row in found]
    return {session.id: session for session in sessions}


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSources:
    """What views of sessions are made of, beside the rows: the stored tariffs, and how one is shown."""

    stored: StoredTariffs
    shown: TariffSnapshotService


async def load_session_views(
    connection: Connection,
    ids: Sequence[UUID],
    *,
    marked: Mapping[UUID, SessionRecord],
    sources: ViewSources,
) -> dict[UUID, SessionView]:
    """Sessions as partners see them, each with its tariff, authorization and capture.

    Two reads; a third for those that are not `marked`, and one for tariffs that are not known yet.
    """
    named = {"shards": [shard_of(session_id) for session_id in ids], "ids": ids}
    authorizations = {
        row["session_id"]: AuthorizationRecord.from_row(row)
        async for row in _QUERIES.published_authorizations(connection, **named)
    }
    captures = {
        row["session_id"]: CaptureRecord.from_row(row)
        async for row in _QUERIES.published_captures(connection, **named)
    }
    sessions = [marked[session_id] for session_id in ids if session_id in marked]
    sessions += await _load_sessions(connection, [one for one in ids if one not in marked])
    frozen = await sources.stored.load(connection, [session.tariff_sha256 for session in sessions])
    references = {
        sha256: sources.shown.reference(sha256=sha256, canonical=one.canonical, version=one.version)
        for sha256, one in frozen.items()
    }
    return {
        session.id: SessionView(
            session=session,
            tariff=references[session.tariff_sha256],
            authorization=authorizations.get(session.id),
            capture=captures.get(session.id),
        )
        for session in sessions
    }


async def _load_sessions(connection: Connection, ids: Sequence[UUID]) -> list[SessionRecord]:
    if not ids:
        return []
    found = _QUERIES.published_sessions(
        connection, shards=[shard_of(session_id) for session_id in ids], ids=list(ids)
    )
    return [SessionRecord.from_row(row) async for row in found]


def captured_session(row: Mapping[str, Any], tariff: StoredTariff) -> CapturedSession:
    """A row of a captured session, with that of its tariff, as clearing's value."""
    on_account = row["funding"] == "partner_account"
    return CapturedSession(
        shard=row["shard"],
        session_id=row["id"],
        cpo_id=row["cpo_id"],
        demand_partner_id=row["demand_partner_id"],
        site_host_id=row["site_host_id"],
        emsp_id=row["emsp_id"],
        authorization_method=AuthorizationMethod(row["authorization_method"]),
        funding=FundingSource.PARTNER_ACCOUNT if on_account else FundingSource.PSP,
        account_party_id=row["account_party_id"],
        tax_jurisdiction=row["tax_jurisdiction"],
        time_zone=row["time_zone"],
        sale_at=row["ended_at"],
        captured_at=row["captured_at"],
        captured_minor=row["amount_minor"],
        currency=row["currency"],
        tariff_sha256=row["tariff_sha256"],
        tariff_json=tariff.canonical,
        tariff_version=tariff.version,
        cdr_id=row["cdr_id"],
        cdr_json=row["cdr"],
        cdr_version=row["cdr_version"],
        psp_object_id=row["psp_charge"],
        psp_fee_minor=row["fee_minor"],
        psp_fee_currency=row["fee_currency"],
        shortfall=_shortfall(row),
        buyer_id=row["buyer_id"],
    )


def _shortfall(row: Mapping[str, Any]) -> str | None:
    """Why less than the price is cleared; None: it is not less."""
    if row["receivable_minor"]:
        return "hold_below_price"
    if BELOW_TARIFF in row["flags"]:
        return BELOW_TARIFF
    return None
