"""Reconciliation items, runs and differences in PostgreSQL.

Owns: rows to values and back. Must not know: what agrees and what differs.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.reconciliation.comparison import Difference, OpenGroup, OpenItem, WithinTolerance
from clearing.reconciliation.report import DifferenceAge, DifferenceFilter, ItemCount, OpenDifference, OpenSum

_sql = named_queries("reconciliation")
_PAGE: Final = 5_000
_SEPARATOR: Final = "\x1f"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRecord:
    """One item of one side of a pair; `account` is the bank account of a bank line."""

    pair: str
    side: str
    source_id: str
    reference: str
    kind: str
    amount_minor: int
    currency: str
    occurred_on: date
    detail: str = ""
    fee_minor: int = 0
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownLineRecord:
    """An open line of the right side without a reference of ours."""

    pair: str
    source_id: str
    reference: str
    amount_minor: int
    currency: str
    detail: str


async def add_items(connection: Connection, items: Sequence[ItemRecord], *, now: datetime) -> int:
    """Store items; one that is reported again is stored once. Returns how many were new."""
    pairs, sides, sources, refs, kinds, amounts, currencies, days, details, fees, accounts = zip(
        *map(astuple, items), strict=True
    )
    added: int = await _sql.add_items(
        connection,
        now=now,
        pairs=pairs,
        sides=sides,
        sources=sources,
        refs=refs,
        kinds=kinds,
        amounts=amounts,
        currencies=currencies,
        days=days,
        details=details,
        fees=fees,
        accounts=accounts,
    )
    return added


# A run


async def lock_run(connection: Connection) -> None:
    """One run at a time, until the transaction ends."""
    await _sql.lock_run(connection)


async def start_run(connection: Connection) -> UUID:
    """Lock runs, raise the transaction's memory for sorting, and return the new run's id."""
    await _sql.lock_run(connection)
    await _sql.raise_work_mem(connection)
    run: UUID = await _sql.new_run(connection)
    return run


async def read_to(connection: Connection, *, name: str) -> datetime | None:
    """Up to when a source was read; None: never."""
    known: datetime | None = await _sql.read_to(connection, name=name)
    return known


async def mark_run(connection: Connection, *, name: str, read_to: datetime, ran_at: datetime) -> None:
    """Record that a source was read up to an instant; it never moves back."""
    await _sql.mark_run(connection, name=name, read_to=read_to, ran_at=ran_at)


async def read_books(connection: Connection, *, since: datetime, now: datetime) -> tuple[int, int]:
    """Add our side's items booked since; how many are new, and how many of them match at once."""
    await _sql.analyze_items(connection)
    captures = await _sql.read_captures(connection, since=since, now=now)
    disbursements: int = await _sql.read_disbursements(connection, since=since, now=now)
    await _sql.analyze_items(connection)
    return captures["read"] + disbursements, captures["matched"]


async def withdraw_bank_lines(connection: Connection, line_ids: Sequence[str]) -> list[str]:
    """Remove open bank lines; returns those that were removed."""
    return [row["source_id"] for row in await rows(_sql.withdraw_bank_lines(connection, ids=list(line_ids)))]


async def match_exact(connection: Connection, *, now: datetime) -> int:
    """Match both sides of every reference and currency whose sums are equal; how many items."""
    matched: int = await _sql.match_exact(connection, now=now)
    await _sql.analyze_items(connection)
    return matched


async def list_unknown_lines(connection: Connection, *, limit: int) -> list[UnknownLineRecord]:
    """Open lines without a reference of ours, the oldest first."""
    found = await rows(_sql.unknown_lines(connection, limit=limit))
    return [UnknownLineRecord(**dict(row.items())) for row in found]


async def list_candidates(
    connection: Connection, *, pair: str, currency: str, amount_minor: int, text: str, limit: int
) -> list[OpenItem]:
    """Open items of our side that a line may pay: named in `text`; if it is empty, none larger than it."""
    found = await rows(
        _sql.candidates(
            connection, pair=pair, currency=currency, amount_minor=amount_minor, text=text, limit=limit
        )
    )
    return [OpenItem(**dict(row.items())) for row in found]


async def match_merged(
    connection: Connection, line: UnknownLineRecord, items: Sequence[OpenItem], *, now: datetime
) -> None:
    """Match a line with the items that it pays together."""
    await _sql.match_items(
        connection,
        pair=line.pair,
        lefts=[item.source_id for item in items],
        right_id=line.source_id,
        now=now,
    )


async def open_groups(connection: Connection) -> AsyncIterator[list[OpenGroup]]:
    """Open items by pair, reference and currency, in pages that keep each reference together."""
    pair, reference = "", ""
    while True:
        page = await rows(_sql.open_groups(connection, pair=pair, reference=reference, limit=_PAGE))
        if not page:
            return
        pair, reference = page[-1]["pair"], page[-1]["reference"]
        yield [OpenGroup(**dict(row.items())) for row in page]


async def match_groups(connection: Connection, groups: Sequence[WithinTolerance], *, now: datetime) -> None:
    """Match groups that agree within tolerance, or that one side cancelled itself."""
    for match, cancelled in (("tolerance", False), ("cancelled", True)):
        matched = [group for group in groups if group.cancelled is cancelled]
        await _sql.match_groups(
            connection,
            how=match,
            now=now,
            pairs=[group.pair for group in matched],
            refs=[group.reference for group in matched],
            currencies=[group.currency for group in matched],
        )


async def put_differences(
    connection: Connection, differences: Sequence[Difference], *, run: UUID, now: datetime
) -> None:
    """Add or renew the differences that a run found."""
    await _sql.put_differences(
        connection,
        run=run,
        now=now,
        pairs=[one.pair for one in differences],
        refs=[one.reference for one in differences],
        currencies=[one.currency for one in differences],
        types=[one.type for one in differences],
        amounts=[one.amount_minor for one in differences],
        sinces=[one.since for one in differences],
        owners=[one.owner for one in differences],
        proposals=[one.proposal for one in differences],
        details=[one.detail for one in differences],
        candidates=[_SEPARATOR.join(one.candidates) for one in differences],
    )


async def close_differences(connection: Connection, *, run: UUID, now: datetime) -> int:
    """Close the differences that the run did not find again; how many."""
    closed: int = await _sql.resolve_differences(connection, run=run, now=now)
    return closed


# What is open


async def read_differences(connection: Connection, *, today: date) -> AsyncIterator[OpenDifference]:
    """Every open difference in the order of its key, a page at a time."""
    after = {"pair": "", "reference": "", "currency": ""}
    while True:
        page = await rows(_sql.differences(connection, limit=_PAGE, **after))
        for row in page:
            yield OpenDifference(**dict(row.items()), age_days=max(0, (today - row["since"]).days))
        if len(page) < _PAGE:
            return
        after = {name: page[-1][name] for name in after}


async def list_differences(
    connection: Connection,
    wanted: DifferenceFilter,
    *,
    today: date,
    after: UUID | None,
    limit: int,
) -> list[OpenDifference]:
    """Open differences with the sums of their sides, those after one, up to `limit`."""
    found = _sql.listed_differences(
        connection,
        id=None,
        owner=wanted.owner,
        of_pair=wanted.pair,
        since=today - timedelta(days=wanted.min_age_days),
        after=after,
        limit=limit,
    )
    return [_aged(row, today=today) for row in await rows(found)]


async def find_difference(
    connection: Connection, difference_id: UUID, *, today: date
) -> OpenDifference | None:
    """One difference with the sums of its sides, whatever its state."""
    found = _sql.listed_differences(
        connection, id=difference_id, owner=None, of_pair=None, since=None, after=None, limit=1
    )
    return next((_aged(row, today=today) for row in await rows(found)), None)


def _aged(row: Mapping[str, Any], *, today: date) -> OpenDifference:
    return OpenDifference(**dict(row.items()), age_days=max(0, (today - row["since"]).days))


async def sum_open_items(connection: Connection) -> list[OpenSum]:
    """What each side of each pair has open, by currency."""
    return [OpenSum(**dict(row.items())) for row in await rows(_sql.open_sums(connection))]


async def count_ages(connection: Connection, *, today: date) -> list[DifferenceAge]:
    """Open differences by owner and age."""
    found = await rows(_sql.difference_ages(connection, today=today))
    return [DifferenceAge(**dict(row.items())) for row in found]


async def count_items(connection: Connection) -> list[ItemCount]:
    """Items by pair and side, how many are open, and the oldest of these."""
    return [ItemCount(**dict(row.items())) for row in await rows(_sql.item_counts(connection))]
