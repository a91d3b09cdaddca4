"""Settlement statements: frozen once, in the order of the party's disbursements, written from stored rows.

Owns: the order of steps inside the caller's transaction. Must not know: the form of records, files.
"""

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from clearing.connection import Connection
from clearing.errors import ClearingConflictError, ClearingInvariantViolation
from clearing.identifiers import format_id
from clearing.ledger.account_statement import StatementBatch, batch_record
from clearing.ledger.account_statement_repository import EntryKey, seal
from clearing.ledger.journal_entry import payable_path
from clearing.parties.business_details import parse_details
from clearing.parties.party import PartyKind
from clearing.sessions.repository import load_rulings
from clearing.settlement_statements import repository as store
from clearing.settlement_statements.line_reader import LineReader
from clearing.settlement_statements.lines import SettlementLine
from clearing.settlement_statements.repository import SettlementStatementRecord
from clearing.settlement_statements.statement import (
    DisbursementStatus,
    Hold,
    Payout,
    Statement,
    StatementDocument,
    StatementWriter,
)

Computed = TypeVar("Computed")


class BackgroundRunner(Protocol):
    """Runs a computation elsewhere, so that the event loop does not wait for it."""

    async def __call__(self, work: Callable[[], Computed]) -> Computed:
        """What `work` gives; one at a time for one statement."""
        ...


_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MADE: Final = frozenset({"paid", "returned"})
_SHOWN_OF_ACCOUNT: Final = 4
_NAMED_DOCUMENTS: Final = 50


async def issue(
    connection: Connection, disbursement_id: UUID, *, party_id: str | None, now: datetime
) -> bool:
    """Freeze the statement of a disbursement, and of each earlier one of that party and currency without one.

    False where the party (None: any) has no such disbursement. Raises ClearingConflictError for one that was
    not paid.
    """
    disbursement = await store.find_disbursement(connection, disbursement_id, party_id=party_id)
    if disbursement is None:
        return False
    if disbursement["state"] not in _MADE:
        raise ClearingConflictError(
            f"the disbursement is {disbursement['state']}; its statement is issued once it is paid"
        )
    if disbursement["booked_at"] is None:
        raise ClearingInvariantViolation(
            f"disbursement {format_id('dis', disbursement_id)} is {disbursement['state']} but not journaled"
        )
    if await store.list_stored(connection, disbursement_id) is not None:
        return True
    party, currency = disbursement["party_id"], disbursement["currency"]
    await store.lock_statements(connection, party_id=party, currency=currency)
    account = payable_path(PartyKind(disbursement["party_kind"]), party)
    unwritten = await store.list_without_statement(connection, party_id=party, currency=currency)
    ids = [row["id"] for row in unwritten]
    if disbursement_id not in ids:
        return True  # another writer was first
    for place in range(ids.index(disbursement_id) + 1):
        await _freeze(connection, unwritten[place:], account=account, now=now)
    return True


async def _freeze(connection: Connection, unwritten: Sequence[Any], *, account: str, now: datetime) -> None:
    """Store the statement of the first of the unwritten disbursements; the others come after it."""
    disbursement = await store.find_disbursement(connection, unwritten[0]["id"])
    party, currency = disbursement["party_id"], disbursement["currency"]
    previous = await store.find_last(connection, party_id=party, currency=currency)
    cut = await store.find_cut(connection, disbursement["booked_at"])
    cut[disbursement["chain"]] = max(cut[disbursement["chain"]], disbursement["position"])
    for chain, position in ({} if previous is None else previous.cut).items():
        cut[chain] = max(cut.get(chain, 0), position)
    moved = await store.sum_moved(connection, account=account, currency=currency, after=previous, cut=cut)
    balance = moved + (0 if previous is None else previous.balance_minor)
    ahead = sum(row["amount_minor"] for row in unwritten[1:] if row["position"] <= cut[row["chain"]])
    await store.insert(
        connection,
        SettlementStatementRecord(
            disbursement_id=disbursement["id"],
            party_id=party,
            currency=currency,
            number=1 if previous is None else previous.number + 1,
            booked_at=disbursement["booked_at"],
            cut=cut,
            balance_minor=balance,
            opening_minor=0 if previous is None else previous.closing_minor,
            closing_minor=balance + ahead,
            head=await _head(connection, disbursement, previous),
            line_count=None,
            sha256=None,
            issued_at=now,
        ),
    )


async def _head(connection: Connection, disbursement: Any, previous: SettlementStatementRecord | None) -> str:
    """Issuer and party as registered, holds and documents since the disbursement before, stored for ever."""
    after = _START if previous is None else previous.booked_at
    holds = await store.list_holds(
        connection,
        party_id=disbursement["party_id"],
        after=after,
        planned_at=disbursement["planned_at"],
        period=disbursement["period"],
    )
    documents, total = await store.list_documents(
        connection,
        party_id=disbursement["party_id"],
        after=after,
        until=disbursement["booked_at"],
        limit=_NAMED_DOCUMENTS,
    )
    return json.dumps(
        {
            "issuer": _named(disbursement, "issuer_"),
            "party": _named(disbursement, ""),
            "name": disbursement["name"],
            "country": disbursement["country"],
            "time_zone": disbursement["time_zone"],
            "holds": [
                [
                    hold.reason,
                    hold.since.isoformat(),
                    None if hold.until is None else hold.until.isoformat(),
                    None if hold.lifted_at is None else hold.lifted_at.isoformat(),
                ]
                for hold in holds
            ],
            "documents": [
                [one.number, one.type_code, one.gross_minor, one.currency, one.issued_at.isoformat()]
                for one in documents
            ],
            "documents_total": total,
        },
        ensure_ascii=False,
    )


def _named(disbursement: Any, prefix: str) -> list[str]:
    """Name and address of the party or, with `issuer_`, of the platform, as the statement prints them."""
    name, country = disbursement[f"{prefix}name"], disbursement[f"{prefix}country"]
    address = parse_details(disbursement[f"{prefix}details"]).address
    return [name, *([country] if address is None else address.lines())]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementOutputLine:
    """One record of a statement as written; `line` for those that are lines."""

    text: str
    line: SettlementLine | None = None


class StatementRun:
    """One run that writes a statement, from its first record to its last, in constant memory."""

    def __init__(
        self,
        *,
        statement: Statement,
        status: DisbursementStatus,
        stored: SettlementStatementRecord,
        previous: SettlementStatementRecord | None,
        disbursement: Any,
        background: BackgroundRunner,
    ) -> None:
        self.statement = statement
        self.status = status
        self.writer = StatementWriter(statement)
        self._stored = stored
        self._previous = previous
        self._disbursement = disbursement
        self._background = background

    async def records(self, connection: Connection) -> AsyncGenerator[StatementOutputLine, None]:
        """Every record, in order; on one snapshot if the transaction is repeatable read.

        Raises ClearingInvariantViolation where the lines are not the disbursement, or are not what they were
        when the statement was first written.
        """
        account, currency = self.statement.account, self.statement.currency
        reader = LineReader(
            party_id=self.statement.party_id,
            account=account,
            currency=currency,
            zone=ZoneInfo(self.statement.time_zone),
            before={} if self._previous is None else self._previous.cut,
        )
        yield StatementOutputLine(text=self.writer.opening())
        found = store.read_lines(
            connection, self._stored, previous=self._previous, planned_at=self._disbursement["planned_at"]
        )
        async with aclosing(found) as batches:
            async for rows in batches:
                missing = reader.missing_rulings(rows)
                if missing:
                    reader.add_rulings(await load_rulings(connection, missing), rows=rows)
                sealed = await self._sealing(connection, rows[0], {_key(row) for row in rows})
                for record in await self._background(partial(self._work, reader, rows, sealed)):
                    yield record
        own = {(self.statement.disbursement_id, "disbursement", "")}
        sealed = await self._sealing(connection, self._disbursement, own)
        yield await self._background(partial(self._proof, sealed))
        yield StatementOutputLine(text=self.writer.payment())
        yield StatementOutputLine(text=self.writer.closing())
        self._check()
        yield StatementOutputLine(text=self.writer.status(self.status))

    async def _sealing(
        self, connection: Connection, row: Any, only: set[EntryKey]
    ) -> Callable[[], StatementBatch]:
        """What is to be computed of a batch, with all that it needs already read."""
        found = await store.load_batch_rows(connection, row["batch_id"], sorted(only))
        return partial(seal, {**dict(row.items()), "id": row["batch_id"]}, found, only=only)

    def _work(
        self, reader: LineReader, rows: Sequence[Any], sealing: Callable[[], StatementBatch]
    ) -> list[StatementOutputLine]:
        """The lines of one batch and its proof; it reads nothing."""
        sealed = sealing()
        lines = [
            StatementOutputLine(text=self.writer.line(line), line=line) for line in reader.lines(rows, sealed)
        ]
        return [*lines, self._proof(lambda: sealed)]

    def _proof(self, sealing: Callable[[], StatementBatch]) -> StatementOutputLine:
        record, _, _ = batch_record(
            sealing(), account=self.statement.account, currency=self.statement.currency
        )
        return StatementOutputLine(text=self.writer.batch(record))

    def _check(self) -> None:
        known = self._stored.sha256
        if known is not None and known != self.writer.seal:
            raise ClearingInvariantViolation(
                f"the statement of {self.statement.disbursement_id} was issued as {known}, "
                f"its stored rows now give {self.writer.seal}"
            )

    async def store_seal(self, connection: Connection) -> None:
        """Store the seal, after the last record; it never changes from then on."""
        if self._stored.sha256 is None:
            await store.put_seal(
                connection,
                self.statement.disbursement_id,
                lines=self.writer.tally.lines,
                sha256=self.writer.seal,
            )


async def in_turn(work: Callable[[], Computed]) -> Computed:
    """Compute here and now."""
    return work()


async def open_run(
    connection: Connection,
    disbursement_id: UUID,
    *,
    now: datetime,
    background: BackgroundRunner = in_turn,
) -> StatementRun:
    """A run that writes an issued statement; a batch at a time is computed by `background`, such as a thread.

    Raises ClearingConflictError where none was issued.
    """
    stored = await store.list_stored(connection, disbursement_id)
    disbursement = await store.find_disbursement(connection, disbursement_id)
    if stored is None or disbursement is None:
        raise ClearingConflictError(f"disbursement {format_id('dis', disbursement_id)} has no statement yet")
    previous = await store.find_by_number(
        connection, party_id=stored.party_id, currency=stored.currency, number=stored.number - 1
    )
    line = await store.find_bank_line(connection, disbursement["end_to_end_id"])
    return StatementRun(
        statement=_statement(stored, disbursement),
        status=DisbursementStatus(
            as_of=now,
            state=disbursement["state"],
            returned_at=disbursement["returned_at"],
            reason=None
            if disbursement["failure"] is None
            else disbursement["failure"].removeprefix("returned: "),
            bank_line=None if line is None else line["source_id"],
            bank_day=None if line is None else line["occurred_on"],
        ),
        stored=stored,
        previous=previous,
        disbursement={**dict(disbursement.items()), "id": disbursement["id"]},
        background=background,
    )


async def list_paid_between(
    connection: Connection, *, since: date, until: date, party_id: str | None
) -> Sequence[UUID]:
    """Disbursements that were paid on the days from `since` to `until`, both inclusive, in UTC."""
    start = datetime.combine(since, datetime.min.time(), UTC)
    end = datetime.combine(until, datetime.min.time(), UTC) + timedelta(days=1)
    return await store.list_paid_between(connection, since=start, until=end, party_id=party_id)


def _statement(stored: SettlementStatementRecord, disbursement: Any) -> Statement:
    head: Mapping[str, Any] = json.loads(stored.head)
    return Statement(
        number=stored.number,
        disbursement=format_id("dis", stored.disbursement_id),
        disbursement_id=stored.disbursement_id,
        party_id=stored.party_id,
        party_name=head["name"],
        country=head["country"],
        time_zone=head["time_zone"],
        account=payable_path(PartyKind(disbursement["party_kind"]), stored.party_id),
        currency=stored.currency,
        period=disbursement["period"],
        opening_minor=stored.opening_minor,
        closing_minor=stored.closing_minor,
        payout=Payout(
            rail=disbursement["rail"],
            amount_minor=disbursement["amount_minor"],
            end_to_end_id=disbursement["end_to_end_id"],
            rail_reference=disbursement["rail_reference"],
            destination=f"…{disbursement['destination'][-_SHOWN_OF_ACCOUNT:]}",
            file=disbursement["message_id"],
            planned_at=disbursement["planned_at"],
            paid_at=disbursement["finished_at"],
        ),
        issued_at=stored.issued_at,
        issuer=head.get("issuer", ()),
        party=head.get("party", ()),
        holds=[_hold(*stated) for stated in head["holds"]],
        documents=[_document(*stated) for stated in head["documents"]],
        documents_total=head["documents_total"],
    )


def _hold(reason: str, since: str, until: str | None, lifted_at: str | None) -> Hold:
    return Hold(
        reason=reason,
        since=date.fromisoformat(since),
        until=None if until is None else date.fromisoformat(until),
        lifted_at=None if lifted_at is None else datetime.fromisoformat(lifted_at),
    )


def _document(
    number: str, type_code: int, gross_minor: int, currency: str, issued_at: str
) -> StatementDocument:
    return StatementDocument(
        number=number,
        type_code=type_code,
        gross_minor=gross_minor,
        currency=currency,
        issued_at=datetime.fromisoformat(issued_at),
    )


def _key(row: Any) -> EntryKey:
    return row["subject_id"], row["kind"], row["reference"]
