"""Account statements and closed periods in PostgreSQL.

Owns: reading an account's batches page by page, in constant memory. Must not know: the statement's format.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.ledger import hash_chain
from clearing.ledger.account_statement import StatementBatch, StatementEntry
from clearing.ledger.journal_entry import Transfer
from clearing.ledger.period_close import CloseRequest

_sql = named_queries("account_statement")
_PAGE: Final = 50
EntryKey = tuple[UUID, str, str]
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def load_opening(connection: Connection, *, account: str, currency: str, since: datetime) -> int:
    """The balance of an account just before `since`, in minor units."""
    minor: int = await _sql.opening(connection, account=account, currency=currency, since=since)
    return minor


async def list_batches(
    connection: Connection, *, account: str, currency: str, since: datetime, until: datetime
) -> AsyncIterator[StatementBatch]:
    """The batches that moved an account from `since` to before `until`, in the order of booking."""
    at, number, position = _START, 0, 0
    while True:
        page = await rows(
            _sql.statement_batches(
                connection,
                account=account,
                currency=currency,
                since=since,
                until=until,
                after_at=at,
                after_chain=number,
                after_position=position,
                limit=_PAGE,
            )
        )
        for batch in page:
            yield await load_sealed_batch(connection, batch, account=account, currency=currency)
            at, number, position = batch["booked_at"], batch["chain"], batch["position"]
        if len(page) < _PAGE:
            return


async def load_sealed_batch(
    connection: Connection, batch: Any, *, account: str, currency: str
) -> StatementBatch:
    """A batch (a row of its table) with its entries that touch the account."""
    return seal(batch, await load_batch_rows(connection, batch["id"], account=account, currency=currency))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRows:
    """All entries of a batch, and all transfers of those that touch an account."""

    entries: Sequence[Any]
    transfers: Sequence[Any]


async def load_batch_rows(
    connection: Connection, batch_id: UUID, *, account: str, currency: str
) -> BatchRows:
    """What a batch's proof is computed from."""
    return BatchRows(
        entries=await rows(_sql.statement_entries(connection, batch_id=batch_id)),
        transfers=await rows(
            _sql.statement_transfers(connection, batch_id=batch_id, account=account, currency=currency)
        ),
    )


def seal(batch: Any, found: BatchRows, *, only: Collection[EntryKey] | None = None) -> StatementBatch:
    """A batch with its proof, of the entries that touch the account or of `only` some. Reads nothing more."""
    transfers: dict[EntryKey, list[Transfer]] = {}
    for row in found.transfers:
        line = Transfer(row["debit_account"], row["credit_account"], row["amount_minor"], row["currency"])
        transfers.setdefault((row["subject_id"], row["kind"], row["reference"]), []).append(line)
    levels = hash_chain.merkle_levels([entry["hash"] for entry in found.entries])
    shown = []
    for place, entry in enumerate(found.entries):
        key = (entry["subject_id"], entry["kind"], entry["reference"])
        lines = transfers.get(key)
        if lines is not None and (only is None or key in only):
            shown.append(_entry(entry, lines, batch["blinding_key"], hash_chain.merkle_path(levels, place)))
    return StatementBatch(
        batch=batch["id"],
        chain=batch["chain"],
        position=batch["position"],
        booked_at=batch["booked_at"],
        previous_hash=batch["previous_hash"],
        hash=batch["hash"],
        entries=tuple(shown),
    )


def _entry(entry: Any, lines: list[Transfer], key: bytes, path: list[tuple[str, bytes]]) -> StatementEntry:
    blinds = hash_chain.blinds(
        key,
        subject_id=entry["subject_id"],
        kind=entry["kind"],
        reference=entry["reference"],
        count=len(lines),
    )
    return StatementEntry(
        subject_id=entry["subject_id"],
        kind=entry["kind"],
        reference=entry["reference"],
        tariff_sha256=entry["tariff_sha256"],
        cdr_id=entry["cdr_id"],
        legs_sha256=sha256(entry["legs"].encode()).hexdigest(),
        transfers=tuple(zip(lines, blinds, strict=True)),
        path=tuple(path),
    )


async def close(connection: Connection, *, until: datetime, by: str, now: datetime) -> datetime | None:
    """Close the books up to `until`, with a snapshot of every account. Returns the closing before, if any.

    Waits for every writer that has locked the books open; the caller checks the order of closings by what is
    returned.
    """
    await _sql.lock_books_shut(connection)
    previous: datetime | None = await _sql.closed_until(connection)
    if previous is None or previous < until:
        await _sql.insert_closed_period(connection, until=until, now=now, by=by)
        await _sql.insert_snapshots(connection, until=until, previous=previous)
    return previous


async def find_close_request(connection: Connection, *, until: datetime) -> CloseRequest | None:
    """Who asked to close the books up to an instant although something stands open."""
    row = await _sql.close_request(connection, until=until)
    return None if row is None else CloseRequest(**dict(row.items()))


async def insert_close_request(
    connection: Connection, *, until: datetime, by: str, open_points: int, now: datetime
) -> None:
    """Record who asks."""
    await _sql.insert_close_request(connection, until=until, by=by, open_points=open_points, now=now)


async def confirm_close_request(connection: Connection, *, until: datetime, by: str, now: datetime) -> None:
    """Record the second person."""
    await _sql.confirm_close_request(connection, until=until, by=by, now=now)
