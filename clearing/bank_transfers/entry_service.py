"""The bank's entries: each movement becomes lines once, with the details of whoever reports them.

Owns: the order of these steps. Must not know: files, what a line is matched to. Every function takes the
connection; none commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from clearing.bank_transfers import bank_entry_repository as repository
from clearing.bank_transfers.entry_matching import (
    Notice,
    StoredEntry,
    as_notice,
    by_entry,
    detailed_lines,
    match_notices,
    stored,
    sums,
)
from clearing.connection import Connection
from clearing.iso20022.bank_entry import BankEntry, BankLine, BankLineState


@dataclass(slots=True)
class EntryLines:
    """What a page of entries changes: lines that are movements now, and details for lines of earlier entries.

    `details` maps the id of a line that stood for a whole entry to the lines that take its place.
    """

    lines: list[BankLine] = field(default_factory=list)
    details: dict[str, Sequence[BankLine]] = field(default_factory=dict)


async def take_entries(
    connection: Connection, entries: Sequence[BankEntry], *, message: str, now: datetime
) -> EntryLines:
    """The lines of one message: each booked movement once, in any order of statement and notification.

    A notification is kept until a statement has its entry, and moves nothing before.
    """
    booked = [one for one in entries if one.state is BankLineState.BOOKED]
    found = EntryLines()
    statement = [one for one in booked if not one.notice]
    if statement:
        await _take_statement(connection, statement, found, now=now)
    notices = [as_notice(one, message=message) for one in booked if one.notice]
    if notices:
        await _take_notices(connection, notices, found, now=now)
    return found


async def _take_statement(
    connection: Connection, entries: Sequence[BankEntry], found: EntryLines, *, now: datetime
) -> None:
    kept = [stored(one) for one in entries]
    new = await repository.add_entries(connection, kept, now=now)
    await _take_repeated(connection, [one for one in entries if one.entry_id not in new], found)
    fresh = [one for one in kept if one.entry_id in new]
    if not fresh:
        return
    notices = match_notices(fresh, await repository.list_open_notices(connection, fresh))
    if notices:
        await repository.attach(connection, notices, now=now)
    detailed = {
        entry.entry_id: lines
        for entry in fresh
        if entry.line_id is not None
        and (lines := detailed_lines(entry, notices.get(entry.entry_id, ()))) is not None
    }
    open_entries = [
        one for one in entries if one.entry_id in new and not one.itemized and one.entry_id not in detailed
    ]
    detailed |= await _lines_of_our_payments(connection, open_entries)
    await repository.mark_itemized(connection, detailed)
    for one in entries:
        if one.entry_id in new:
            found.lines += detailed.get(one.entry_id, one.lines)


async def _take_repeated(connection: Connection, entries: Sequence[BankEntry], found: EntryLines) -> None:
    """A statement that reports an entry again changes nothing, unless it itemizes what was one line."""
    itemized = {one.entry_id: one for one in entries if one.itemized}
    if not itemized:
        return
    known = await repository.list_entries(connection, itemized)
    for one in known:
        if one.line_id is not None:
            found.details[one.line_id] = itemized[one.entry_id].lines
    await repository.mark_itemized(connection, [one.entry_id for one in known])


async def _lines_of_our_payments(
    connection: Connection, entries: Sequence[BankEntry]
) -> dict[str, Sequence[BankLine]]:
    """Collective entries, itemized by what we requested."""
    payments = sorted({one for entry in entries for one in entry.payment_ids})
    batches = sorted({one for entry in entries for one in entry.batch_ids})
    if not (payments or batches):
        return {}
    filed = await repository.list_payments(connection, end_to_end_ids=payments, batch_ids=batches)
    return dict(by_entry(filed, entries))


async def _take_notices(
    connection: Connection, notices: Sequence[Notice], found: EntryLines, *, now: datetime
) -> None:
    new = await repository.add_notices(connection, notices, now=now)
    fresh = [one for one in notices if one.notice_id in new]
    if not fresh:
        return
    entries = await repository.list_unnoticed(connection, fresh, amounts=sums(fresh))
    matched = match_notices(entries, fresh)
    await repository.attach(connection, matched, now=now)
    itemized: list[StoredEntry] = []
    for entry in entries:
        lines = detailed_lines(entry, matched.get(entry.entry_id, ()))
        if entry.line_id is not None and lines is not None:
            found.details[entry.line_id] = lines
            itemized.append(entry)
    await repository.mark_itemized(connection, [one.entry_id for one in itemized])
