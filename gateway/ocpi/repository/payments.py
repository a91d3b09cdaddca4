"""Payment terminals, financial advices, invoice records and messages to peers, in PostgreSQL.

Owns: translation between rows and values. Must not know: HTTP, or what an advice says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.ids import new_id

_sql = named_queries("gateway", "ocpi_payments.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalRecord:
    """A payment terminal of ours at a CPO's locations; `state` is active or deactivated.

    `body` is canonical JSON.
    """

    terminal_id: str
    cpo_id: str
    state: str
    body: bytes
    last_updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCapture:
    """A capture that the PSP has answered.

    Amounts are minor units; net and gross are the session's whole price.
    """

    id: UUID
    state: str
    amount_minor: int
    currency: str
    receivable_minor: int
    captured_at: datetime | None
    created_at: datetime
    cpo_id: str
    price_minor: int | None
    price_net_minor: int | None
    authorization_id: UUID
    authorization_reference: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRecord:
    """An invoice reconciliation record: which CDRs a CPO has put on an invoice."""

    party_id: str
    record_id: str
    invoice_id: str
    cdr_ids: tuple[str, ...]
    body: bytes
    last_updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicedCdr:
    """What became of a CDR on an invoice; `status` None means that we never received it."""

    cdr_key: str
    status: str | None
    session_id: UUID | None
    currency: str | None
    credited: bool
    elsewhere: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiMessageRecord:
    """A message to a party's platform, `path` below the module's endpoint; `attempts` counts this one."""

    id: UUID
    party_id: str
    module: str
    method: str
    path: str
    object_id: str
    body: bytes
    attempts: int
    created_at: datetime


async def save_terminal(connection: Connection, terminal: TerminalRecord, *, now: datetime) -> bool:
    """Keep a terminal; False when its id is another CPO's."""
    saved = await _sql.save_terminal(
        connection,
        terminal_key=terminal.terminal_id.lower(),
        terminal_id=terminal.terminal_id,
        cpo_id=terminal.cpo_id,
        state=terminal.state,
        body=terminal.body,
        now=now,
        last_updated=terminal.last_updated,
    )
    return saved is not None


async def load_terminal(
    connection: Connection, *, terminal_id: str, parties: Sequence[str], lock: bool = False
) -> TerminalRecord | None:
    """A terminal of one of `parties`; `lock` holds its row until the transaction ends."""
    query = _sql.lock_terminal if lock else _sql.load_terminal
    row = await query(connection, terminal_key=terminal_id.lower(), parties=list(parties))
    return None if row is None else TerminalRecord(**dict(row))


async def load_advice(connection: Connection, *, advice_id: str, parties: Sequence[str]) -> bytes | None:
    """A financial advice confirmation sent to one of `parties`, as JSON."""
    row = await _sql.load_advice(connection, advice_id=advice_id, parties=list(parties))
    return None if row is None else row["body"]


async def add_advice(
    connection: Connection, *, capture_id: UUID, advice_id: str, cpo_id: str, body: bytes, now: datetime
) -> bool:
    """Keep the one advice of a capture; False when it has one already."""
    added = await _sql.add_advice(
        connection, capture_id=capture_id, advice_id=advice_id, cpo_id=cpo_id, body=body, now=now
    )
    return added is not None


async def list_parties_taking_advice(connection: Connection) -> list[str]:
    """CPOs whose platform has a payments module to push to."""
    return [row["party_id"] async for row in _sql.parties_taking_advice(connection)]


async def list_captures_without_advice(
    connection: Connection, *, shard: int, floor: UUID, parties: Sequence[str], limit: int
) -> list[FinishedCapture]:
    """Captures of one shard, not older than the id `floor`, of which these CPOs have no advice yet."""
    rows = _sql.captures_without_advice(
        connection, shard=shard, floor=floor, parties=list(parties), row_limit=limit
    )
    return [FinishedCapture(**dict(row)) async for row in rows]


async def save_invoice(connection: Connection, record: InvoiceRecord, *, now: datetime) -> bool:
    """Keep an invoice record, new or changed; True when it is new."""
    created: bool = await _sql.save_invoice(
        connection,
        party_id=record.party_id,
        record_key=record.record_id.lower(),
        record_id=record.record_id,
        invoice_id=record.invoice_id,
        cdr_keys=[cdr_id.lower() for cdr_id in record.cdr_ids],
        body=record.body,
        last_updated=record.last_updated,
        now=now,
    )
    return created


async def load_invoice(connection: Connection, *, party_id: str, record_id: str) -> bytes | None:
    """An invoice record as JSON, or None when unknown or deleted."""
    row = await _sql.load_invoice(connection, party_id=party_id, record_key=record_id.lower())
    return None if row is None else row["body"]


async def delete_invoice(connection: Connection, *, party_id: str, record_id: str, now: datetime) -> bool:
    """Delete an invoice record; False when there is none."""
    deleted = await _sql.delete_invoice(connection, party_id=party_id, record_key=record_id.lower(), now=now)
    return deleted is not None


async def reconcile_invoice(connection: Connection, *, party_id: str, record_id: str) -> list[InvoicedCdr]:
    """What became of each CDR that an invoice record names, in its order."""
    rows = _sql.reconcile_invoice(connection, party_id=party_id, record_key=record_id.lower())
    return [InvoicedCdr(**dict(row)) async for row in rows]


async def add_message(
    connection: Connection,
    *,
    party_id: str,
    module: str,
    method: str,
    path: str,
    object_id: str,
    body: bytes,
    now: datetime,
    wall_now: datetime,
) -> None:
    """Have a message sent to a party's platform; in the transaction that makes it necessary."""
    await _sql.add_message(
        connection,
        id=new_id(),
        party_id=party_id,
        module=module,
        method=method,
        path=path,
        object_id=object_id,
        body=body,
        now=now,
        wall_now=wall_now,
    )


async def lease_messages(
    connection: Connection, *, wall_now: datetime, leased_until: datetime, batch: int
) -> list[OcpiMessageRecord]:
    """Due messages, the first of each object only, kept from others until `leased_until`."""
    rows = _sql.lease_messages(connection, wall_now=wall_now, leased_until=leased_until, batch=batch)
    return [OcpiMessageRecord(**dict(row)) async for row in rows]


async def mark_message_sent(connection: Connection, *, message_id: UUID) -> None:
    """Delete a message that the peer has accepted."""
    await _sql.message_sent(connection, id=message_id)


async def postpone_message(
    connection: Connection, *, message_id: UUID, run_at: datetime, reason: str, exception: bool
) -> None:
    """Try again at `run_at`, or never by itself when `exception`."""
    await _sql.postpone_message(connection, id=message_id, run_at=run_at, reason=reason, exception=exception)


async def list_waiting_messages(
    connection: Connection, *, party_id: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Messages not sent yet, exceptions too, the oldest first, without their bodies."""
    return [dict(row) async for row in _sql.waiting_messages(connection, party_id=party_id, row_limit=limit)]


async def retry_messages(connection: Connection, *, wall_now: datetime, party_id: str | None = None) -> int:
    """Send messages again that are exceptions; returns how many."""
    retried: int = await _sql.retry_messages(connection, wall_now=wall_now, party_id=party_id)
    return retried
