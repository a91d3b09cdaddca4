"""Settlement statements in PostgreSQL: the frozen heads, the cuts of the journal, the lines as rows.

Owns: rows to values and back. Must not know: the records' form, when a statement is written.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from clearing.captured_session import shard_of
from clearing.connection import Connection, named_queries, rows
from clearing.ledger.account_statement_repository import BatchRows, EntryKey
from clearing.settlement_statements.statement import Hold, StatementDocument

_sql = named_queries("settlement_statements")
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A batch is committed within moments of its booking: none is a month late.
_LATE: Final = timedelta(days=31)
Cut = Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementStatementRecord:
    """A statement's frozen facts.

    `cut` is how far each chain is within it; `sha256` None: never written yet.
    """

    disbursement_id: UUID
    party_id: str
    currency: str
    number: int
    booked_at: datetime
    cut: Cut
    balance_minor: int
    opening_minor: int
    closing_minor: int
    head: str
    line_count: int | None
    sha256: str | None
    issued_at: datetime


async def find_disbursement(
    connection: Connection, disbursement_id: UUID, *, party_id: str | None = None
) -> Any:
    """A disbursement with its party, its file and its journal batch; None where the party has none such."""
    return await _sql.disbursement(
        connection, id=disbursement_id, shard=shard_of(disbursement_id), party_id=party_id
    )


async def lock_statements(connection: Connection, *, party_id: str, currency: str) -> None:
    """One writer of a party's statements at a time, until the transaction ends."""
    await _sql.lock_statements(connection, party_id=party_id, currency=currency)


async def list_without_statement(connection: Connection, *, party_id: str, currency: str) -> list[Any]:
    """Paid disbursements without a statement, in the order of booking."""
    return await rows(_sql.without_statement(connection, party_id=party_id, currency=currency))


async def list_stored(connection: Connection, disbursement_id: UUID) -> SettlementStatementRecord | None:
    """A statement that was written before."""
    return _stored(await _sql.stored(connection, id=disbursement_id))


async def find_by_number(
    connection: Connection, *, party_id: str, currency: str, number: int
) -> SettlementStatementRecord | None:
    """A party's statement by its number."""
    row = await _sql.of_number(connection, party_id=party_id, currency=currency, number=number)
    return _stored(row)


async def find_last(
    connection: Connection, *, party_id: str, currency: str
) -> SettlementStatementRecord | None:
    """The party's latest statement."""
    number = await _sql.last_number(connection, party_id=party_id, currency=currency)
    return await find_by_number(connection, party_id=party_id, currency=currency, number=number)


async def find_cut(connection: Connection, at: datetime) -> dict[int, int]:
    """How far each chain of the journal had come at an instant."""
    return {row["chain"]: row["position"] for row in await rows(_sql.cut(connection, at=at))}


async def sum_moved(
    connection: Connection, *, account: str, currency: str, after: SettlementStatementRecord | None, cut: Cut
) -> int:
    """What moved on an account after a statement's cut and up to another, in minor units."""
    before: Cut = {} if after is None else after.cut
    minor: int = await _sql.moved(
        connection,
        account=account,
        currency=currency,
        chains=list(cut),
        after=[before.get(chain, 0) for chain in cut],
        until=list(cut.values()),
        since=_START if after is None else after.booked_at - _LATE,
    )
    return minor


async def insert(connection: Connection, statement: SettlementStatementRecord) -> None:
    """Freeze a statement's facts."""
    await _sql.insert(
        connection,
        id=statement.disbursement_id,
        party_id=statement.party_id,
        currency=statement.currency,
        number=statement.number,
        booked_at=statement.booked_at,
        chains=list(statement.cut),
        positions=list(statement.cut.values()),
        balance_minor=statement.balance_minor,
        opening_minor=statement.opening_minor,
        closing_minor=statement.closing_minor,
        head=statement.head,
        now=statement.issued_at,
    )


async def put_seal(connection: Connection, disbursement_id: UUID, *, lines: int, sha256: str) -> None:
    """Store the seal of the statement's records as first written; it never changes from then on."""
    await _sql.seal(connection, id=disbursement_id, line_count=lines, sha256=sha256)


async def list_holds(
    connection: Connection, *, party_id: str, after: datetime, planned_at: datetime, period: date
) -> list[Hold]:
    """Holds that were in force between the disbursement before and the planning of this one."""
    found = await rows(
        _sql.holds(
            connection,
            party_id=party_id,
            first_day=after.date(),
            last_day=period,
            planned_at=planned_at,
            after=after,
        )
    )
    return [Hold(**dict(row.items())) for row in found]


async def list_documents(
    connection: Connection, *, party_id: str, after: datetime, until: datetime, limit: int
) -> tuple[list[StatementDocument], int]:
    """Documents that the party issued or received after one instant and up to another, and how many."""
    found = await rows(_sql.documents(connection, party_id=party_id, after=after, until=until, limit=limit))
    named = [
        StatementDocument(
            number=f"{row['series']}-{row['number']:06d}",
            type_code=row["type_code"],
            gross_minor=row["gross_minor"],
            currency=row["currency"],
            issued_at=row["issued_at"],
        )
        for row in found
    ]
    return named, found[0]["total"] if found else 0


async def find_bank_line(connection: Connection, end_to_end_id: str) -> Any:
    """The bank's line of a disbursement, once it is matched; None before."""
    return await _sql.bank_line(connection, end_to_end_id=end_to_end_id)


async def list_paid_between(
    connection: Connection, *, since: datetime, until: datetime, party_id: str | None
) -> list[UUID]:
    """Disbursements that were paid from one instant to another."""
    found = await rows(_sql.paid_between(connection, since=since, until=until, party_id=party_id))
    return [row["id"] for row in found]


async def read_lines(
    connection: Connection,
    statement: SettlementStatementRecord,
    *,
    previous: SettlementStatementRecord | None,
    planned_at: datetime,
) -> AsyncGenerator[Sequence[Any], None]:
    """What the disbursement netted, the rows of one batch of the journal at a time, through a cursor."""
    before: Cut = {} if previous is None else previous.cut
    async with _sql.lines_cursor(
        connection,
        id=statement.disbursement_id,
        currency=statement.currency,
        planned_at=planned_at,
        chains=list(statement.cut),
        after=[before.get(chain, 0) for chain in statement.cut],
        until=list(statement.cut.values()),
    ) as cursor:
        batch: list[Any] = []
        async for row in cursor:
            if batch and batch[0]["batch_id"] != row["batch_id"]:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch


async def load_batch_rows(connection: Connection, batch_id: UUID, own: Sequence[EntryKey]) -> BatchRows:
    """What a batch's proof is computed from, for some of its entries: little is read of the others."""
    subjects = [subject for subject, _, _ in own]
    return BatchRows(
        entries=await rows(_sql.leaves(connection, batch_id=batch_id, subjects=subjects)),
        transfers=await rows(
            _sql.transfers(
                connection,
                shards=[shard_of(subject) for subject in subjects],
                subjects=subjects,
                kinds=[kind for _, kind, _ in own],
                refs=[reference for _, _, reference in own],
            )
        ),
    )


def _stored(row: Any) -> SettlementStatementRecord | None:
    if row is None:
        return None
    fields = dict(row.items())
    cut = dict(zip(fields.pop("chains"), fields.pop("positions"), strict=True))
    return SettlementStatementRecord(cut=cut, **fields)
