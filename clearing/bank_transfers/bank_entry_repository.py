"""Entries of bank statements and their notifications in PostgreSQL.

Owns: rows to values and back. Must not know: which notification details which entry.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any, Final

from clearing.bank_transfers.entry_matching import DAYS_APART, FiledPayment, Notice, StoredEntry
from clearing.connection import Connection, named_queries, rows
from clearing.iso20022.bank_entry import BankLine, BankLineState
from clearing.payouts.disbursement import DisbursementState

_sql = named_queries("bank_entry")
_SEPARATOR: Final = "\x1f"
_LIMIT: Final = 20_000  # of candidates in one look; the rest is found with the next message


async def add_entries(connection: Connection, entries: Sequence[StoredEntry], *, now: datetime) -> set[str]:
    """Store entries of a statement. Returns the ids of those that no statement had reported before."""
    columns = _columns(entries)
    lines = [one.line_id for one in entries]
    added = await rows(
        _sql.add_entries(connection, now=now, ids=[one.entry_id for one in entries], lines=lines, **columns)
    )
    return {row["entry_id"] for row in added}


async def list_entries(connection: Connection, ids: Iterable[str]) -> list[StoredEntry]:
    """Stored entries under these ids."""
    return [_entry(row) for row in await rows(_sql.entries_of(connection, ids=list(ids)))]


async def list_unnoticed(
    connection: Connection, notices: Sequence[Notice], *, amounts: Iterable[int]
) -> list[StoredEntry]:
    """Entries without a notification on the accounts of `notices`, of one of these `amounts`."""
    found = await rows(
        _sql.unnoticed_entries(connection, amounts=list(amounts), limit=_LIMIT, **_accounts(notices))
    )
    return [_entry(row) for row in found]


async def add_notices(connection: Connection, notices: Sequence[Notice], *, now: datetime) -> set[str]:
    """Store notifications of one message. Returns the ids of those that were not reported before."""
    added = await rows(
        _sql.add_notices(
            connection,
            now=now,
            message=notices[0].message,
            ids=[one.notice_id for one in notices],
            itemized=[one.itemized for one in notices],
            lines=[json.dumps([_plain(line) for line in one.lines]) for one in notices],
            **_columns(notices),
        )
    )
    return {row["notice_id"] for row in added}


async def list_open_notices(connection: Connection, entries: Sequence[StoredEntry]) -> list[Notice]:
    """Notifications without an entry, on the accounts and about the days of `entries`."""
    days = [day for one in entries for day in (one.booked_on, one.value_on)]
    found = await rows(
        _sql.open_notices(
            connection,
            first=min(days) - timedelta(days=DAYS_APART),
            last=max(days) + timedelta(days=DAYS_APART),
            limit=_LIMIT,
            **_accounts(entries),
        )
    )
    return [_notice(row) for row in found]


async def attach(connection: Connection, found: Mapping[str, Sequence[Notice]], *, now: datetime) -> None:
    """Record which notifications detail which entry."""
    pairs = [(one.notice_id, entry_id) for entry_id, notices in found.items() for one in notices]
    await _sql.attach_notices(
        connection, notices=[notice for notice, _ in pairs], entries=[entry for _, entry in pairs]
    )
    await _sql.mark_noticed(connection, ids=list(found), now=now)


async def mark_itemized(connection: Connection, entry_ids: Iterable[str]) -> None:
    """Record that the transactions of these entries are known."""
    await _sql.mark_itemized(connection, ids=list(entry_ids))


async def list_payments(
    connection: Connection, *, end_to_end_ids: Sequence[str], batch_ids: Sequence[str]
) -> list[FiledPayment]:
    """Our payments under these end-to-end ids, or in these batches or files."""
    found = await rows(_sql.payments_of(connection, payments=list(end_to_end_ids), batches=list(batch_ids)))
    return [FiledPayment(**{**dict(row.items()), "state": DisbursementState(row["state"])}) for row in found]


def _columns(ones: Sequence[StoredEntry] | Sequence[Notice]) -> dict[str, list[Any]]:
    return {
        "ibans": [one.iban for one in ones],
        "currencies": [one.currency for one in ones],
        "amounts": [one.amount_minor for one in ones],
        "booked": [one.booked_on for one in ones],
        "values": [one.value_on for one in ones],
        "dated": [one.dated for one in ones],
        "refs": [_SEPARATOR.join(sorted(one.references)) for one in ones],
    }


def _accounts(ones: Sequence[StoredEntry] | Sequence[Notice]) -> dict[str, list[str]]:
    return {
        "ibans": sorted({one.iban for one in ones}),
        "currencies": sorted({one.currency for one in ones}),
    }


def _entry(row: Any) -> StoredEntry:
    facts = dict(row.items())
    return StoredEntry(references=frozenset(facts.pop("refs")), **facts)


def _notice(row: Any) -> Notice:
    facts = dict(row.items())
    lines = [_line(one) for one in json.loads(facts.pop("lines"))]
    return Notice(references=frozenset(facts.pop("refs")), lines=lines, **facts)


def _plain(line: BankLine) -> dict[str, Any]:
    """A line as JSON: days in ISO 8601."""
    return {
        **asdict(line),
        "booked_on": line.booked_on.isoformat(),
        "value_on": line.value_on.isoformat(),
        "state": line.state.value,
    }


def _line(plain: Mapping[str, Any]) -> BankLine:
    return BankLine(
        **{
            **plain,
            "booked_on": date.fromisoformat(plain["booked_on"]),
            "value_on": date.fromisoformat(plain["value_on"]),
            "state": BankLineState(plain["state"]),
        }
    )
