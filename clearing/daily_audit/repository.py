"""What the daily audit reads: checkpoints, pages of batches, shards, and what is open, each by its key.

Owns: the queries, and how many rows are held at once. Must not know: what is concluded from them.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from clearing.captured_session import shard_of
from clearing.connection import Connection, named_queries, rows
from clearing.daily_audit.checkpoint import SealedCheckpoint
from clearing.daily_audit.proof import BatchPage, lines_by_entry, moved_accounts

_sql = named_queries("daily_audit")
_ENTRIES_HELD: Final = 2000
_IDS_ASKED: Final = 5000


async def list_checkpoints(connection: Connection) -> list[SealedCheckpoint]:
    """Every checkpoint in order, without its content."""
    return [SealedCheckpoint(**dict(row)) for row in await rows(_sql.checkpoints(connection))]


async def find_latest_checkpoint(connection: Connection) -> SealedCheckpoint | None:
    """The last checkpoint without its content; None before the first."""
    row = await _sql.latest_checkpoint(connection)
    return None if row is None else SealedCheckpoint(**dict(row))


async def load_content(connection: Connection, sequence: int) -> str:
    """The bytes that a checkpoint seals."""
    content: str = await _sql.checkpoint_content(connection, sequence=sequence)
    return content


async def insert_checkpoint(connection: Connection, sealed: SealedCheckpoint, content: str) -> None:
    """Store a checkpoint. UniqueViolationError if another run sealed the same sequence."""
    await _sql.insert_checkpoint(connection, content=content, **asdict(sealed))


async def load_heads(connection: Connection) -> dict[int, int]:
    """The last position of each chain."""
    return {row["chain"]: row["position"] for row in await list_last_batches(connection)}


async def list_last_batches(connection: Connection) -> list[Any]:
    """The last batch of each chain: chain, position, hash, booked_at."""
    return await rows(_sql.last_batches(connection))


async def read_batches(
    connection: Connection, chain: int, positions: Sequence[int]
) -> AsyncIterator[Sequence[Any]]:
    """The batches at these positions that exist, in groups of a bounded number of entries."""
    group: list[Any] = []
    held = 0
    for batch in await rows(_sql.batches_at(connection, chain=chain, positions=list(positions))):
        if group and held + batch["entry_count"] > _ENTRIES_HELD:
            yield group
            group, held = [], 0
        group.append(batch)
        held += batch["entry_count"]
    if group:
        yield group


async def load_page(connection: Connection, batches: Sequence[Any]) -> BatchPage:
    """These batches with the rows of their entries."""
    ids = [batch["id"] for batch in batches]
    entries = await rows(_sql.entries_of(connection, batches=ids))
    lines = lines_by_entry(await rows(_sql.transfers_of(connection, batches=ids)))
    moved = moved_accounts(entries, lines)
    converted = any(account.startswith("fx:") for _, account, _ in moved)
    return BatchPage(
        batches=batches,
        entries=entries,
        lines=lines,
        moved=moved,
        payables=await rows(_sql.payables_of(connection, batches=ids)),
        deltas=await rows(
            _sql.deltas_of(
                connection,
                batches=[batch for batch, _, _ in moved],
                accounts=[account for _, account, _ in moved],
                currencies=[currency for _, _, currency in moved],
            )
        ),
        fx_transfers=await rows(_sql.fx_transfers_of(connection, batches=ids)) if converted else [],
    )


async def find_undocumented(connection: Connection, batches: Sequence[Any]) -> list[tuple[str, str]]:
    """Entries of documented batches whose driver's document is missing or says otherwise."""
    found = await rows(_sql.documents_of(connection, batches=[batch["id"] for batch in batches]))
    return _pairs(found)


async def load_document_cursors(connection: Connection) -> dict[int, int]:
    """Up to which position each chain has drivers' documents."""
    return {row["chain"]: row["position"] for row in await rows(_sql.document_cursors(connection))}


async def list_pending_positions(connection: Connection) -> dict[int, list[int]]:
    """The positions of each chain with entries whose document is pending."""
    found: dict[int, list[int]] = {}
    for row in await rows(_sql.pending_positions(connection)):
        found.setdefault(row["chain"], []).append(row["position"])
    return found


async def find_orphans(connection: Connection, shard: int) -> list[tuple[str, str, str]]:
    """Check, subject and detail of what lies in a shard without the row that it belongs to."""
    return [
        (name, subject, detail)
        for name in ("orphan_transfers", "orphan_payables", "orphan_entries")
        for subject, detail in _pairs(await rows(getattr(_sql, name)(connection, shard=shard)))
    ]


async def sum_captured(connection: Connection, sessions: Sequence[UUID]) -> dict[tuple[UUID, str], int]:
    """What the journal has as captured of each session, less what was given back, by currency."""
    found = await rows(
        _sql.captured_of(connection, shards=[shard_of(one) for one in sessions], sessions=list(sessions))
    )
    return {(row["subject_id"], row["currency"]): row["minor"] for row in found}


async def sum_unpaid(connection: Connection) -> dict[tuple[str, str], int]:
    """What is owed and not paid, by party and currency."""
    found = await rows(_sql.unpaid_payables(connection))
    return {(row["party_id"], row["currency"]): row["minor"] for row in found}


async def sum_suspense(connection: Connection) -> dict[str, int]:
    """What remains of the items in suspense, by currency."""
    return {row["currency"]: row["minor"] for row in await rows(_sql.open_suspense(connection))}


async def find_disbursement_days(connection: Connection) -> tuple[date, date] | None:
    """The first and the last day of any disbursement."""
    row = await _sql.disbursement_days(connection)
    return None if row is None or row["first"] is None else (row["first"], row["last"])


async def prove_disbursements(
    connection: Connection, *, ids: Sequence[UUID], days: Sequence[date]
) -> tuple[int, list[tuple[str, str, str]]]:
    """How many were proved (named, of these days, under way), and check, subject, detail of each finding."""
    asked = await rows(_sql.disbursements_to_prove(connection, ids=list(ids), days=list(days)))
    every = [row["id"] for row in asked]
    found: list[tuple[str, str, str]] = []
    for start in range(0, len(every), _IDS_ASKED):
        part = every[start : start + _IDS_ASKED]
        for name in (
            "disbursements_unequal",
            "disbursements_unposted",
            "returned_unequal",
            "statements_unequal",
        ):
            wrong = _pairs(await rows(getattr(_sql, name)(connection, ids=part)))
            found += [(name, subject, detail) for subject, detail in wrong]
    return len(every), found


async def load_series(connection: Connection) -> dict[tuple[str, str], int]:
    """The next number of every series, by issuer and series."""
    found = await rows(_sql.series(connection))
    return {(row["issuer_id"], row["series"]): row["next_number"] for row in found}


async def count_driver_documents(
    connection: Connection, series: str, *, first: int, last: int
) -> tuple[int, int]:
    """How many documents have a number in that range, and how many numbers they have."""
    row = await _sql.driver_documents_numbered(connection, series=series, first=first, last=last)
    return row["stored"], row["numbers"]


async def read_hashed_documents(
    connection: Connection, numbers: Mapping[tuple[str, str], int], *, share: int, shares: int
) -> Sequence[Any]:
    """Documents with hashes: from a number of each series on, and a share of the ones before."""
    return await rows(
        _sql.hashed_documents(
            connection,
            issuers=[issuer for issuer, _ in numbers],
            series=[name for _, name in numbers],
            numbers=list(numbers.values()),
            share=share,
            shares=shares,
        )
    )


async def list_snapshot_days(connection: Connection) -> list[datetime]:
    """The instants of all balance snapshots, in order."""
    return [row["as_of"] for row in await rows(_sql.snapshot_days(connection))]


async def find_snapshot_differences(
    connection: Connection, *, at: datetime, before: datetime | None
) -> list[tuple[str, str]]:
    """Where the snapshot at an instant is not the one before it and the deltas between."""
    return _pairs(await rows(_sql.snapshot_unequal(connection, at=at, before=before)))


def _pairs(found: Sequence[Any]) -> list[tuple[str, str]]:
    return [(row["subject"], row["detail"]) for row in found]
