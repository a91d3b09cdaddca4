"""Statements of payments: frozen once, in the order of the party's payments, and written from stored rows.

Owns: the order of steps inside the caller's transaction, and what of an entry a party is told. Must not know:
the form of records, files, how a partner calls an id (the caller's `names` does).
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
from clearing.errors import InvariantViolation, StateConflictError
from clearing.journal.ledger import payable_path
from clearing.journal.statement import StatementBatch, batch_record
from clearing.parties.party import PartyKind
from clearing.payouts.payment_statement import (
    Hold,
    IssuedDocument,
    Payout,
    Statement,
    StatementWriter,
    Status,
)
from clearing.payouts.statement_lines import PaymentLine
from clearing.store import payment_statements as store
from clearing.store.payment_statements import StoredStatement
from clearing.store.statements import EntryKey, seal
from clearing.work.statement_lines import LineReader

Names = Callable[[str, UUID], str]
Computed = TypeVar("Computed")


class Apart(Protocol):
    """Runs a computation elsewhere, so that it keeps nobody waiting."""

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
    """Freeze the statement of a payment, and of every earlier one of that party and currency that has none.

    False where the party (None: any) has no such payment. Raises StateConflictError for one that was not
    made.
    """
    payment = await store.payment(connection, disbursement_id, party_id=party_id)
    if payment is None:
        return False
    if payment["state"] not in _MADE:
        raise StateConflictError(
            f"the payment is {payment['state']}; its statement is written once it is paid"
        )
    if payment["booked_at"] is None:
        raise InvariantViolation(f"payment {disbursement_id} is {payment['state']}, but not in the journal")
    if await store.stored(connection, disbursement_id) is not None:
        return True
    party, currency = payment["party_id"], payment["currency"]
    await store.hold(connection, party_id=party, currency=currency)
    account = payable_path(PartyKind(payment["party_kind"]), party)
    waiting = await store.unwritten(connection, party_id=party, currency=currency)
    ids = [row["id"] for row in waiting]
    if disbursement_id not in ids:
        return True  # another writer was first
    for place in range(ids.index(disbursement_id) + 1):
        await _freeze(connection, waiting[place:], account=account, now=now)
    return True


async def _freeze(connection: Connection, waiting: Sequence[Any], *, account: str, now: datetime) -> None:
    """Write the statement of the first of the waiting payments; the others are still to come for it."""
    payment = await store.payment(connection, waiting[0]["id"])
    party, currency = payment["party_id"], payment["currency"]
    previous = await store.last(connection, party_id=party, currency=currency)
    cut = await store.cut_at(connection, payment["booked_at"])
    cut[payment["chain"]] = max(cut[payment["chain"]], payment["position"])
    for chain, position in ({} if previous is None else previous.cut).items():
        cut[chain] = max(cut.get(chain, 0), position)
    moved = await store.moved(connection, account=account, currency=currency, after=previous, cut=cut)
    balance = moved + (0 if previous is None else previous.balance_minor)
    ahead = sum(row["amount_minor"] for row in waiting[1:] if row["position"] <= cut[row["chain"]])
    await store.insert(
        connection,
        StoredStatement(
            disbursement_id=payment["id"],
            party_id=party,
            currency=currency,
            number=1 if previous is None else previous.number + 1,
            booked_at=payment["booked_at"],
            cut=cut,
            balance_minor=balance,
            opening_minor=0 if previous is None else previous.closing_minor,
            closing_minor=balance + ahead,
            head=await _head(connection, payment, previous),
            line_count=None,
            sha256=None,
            issued_at=now,
        ),
    )


async def _head(connection: Connection, payment: Any, previous: StoredStatement | None) -> str:
    """The party as registered, its holds and its documents since the payment before, as kept for ever."""
    after = _START if previous is None else previous.booked_at
    holds = await store.holds(
        connection,
        party_id=payment["party_id"],
        after=after,
        planned_at=payment["planned_at"],
        period=payment["period"],
    )
    documents, total = await store.documents(
        connection,
        party_id=payment["party_id"],
        after=after,
        until=payment["booked_at"],
        limit=_NAMED_DOCUMENTS,
    )
    return json.dumps(
        {
            "name": payment["name"],
            "country": payment["country"],
            "time_zone": payment["time_zone"],
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a statement as written; `line` for those that are lines."""

    text: str
    line: PaymentLine | None = None


class StatementRun:
    """One writing of a statement, from its first record to its last, in constant memory."""

    def __init__(
        self,
        *,
        statement: Statement,
        status: Status,
        stored: StoredStatement,
        previous: StoredStatement | None,
        payment: Any,
        names: Names,
        apart: Apart,
    ) -> None:
        self.statement = statement
        self.status = status
        self.writer = StatementWriter(statement)
        self._stored = stored
        self._previous = previous
        self._payment = payment
        self._names = names
        self._apart = apart

    async def records(self, connection: Connection) -> AsyncGenerator[Record, None]:
        """Every record, in order; on one snapshot if the transaction is repeatable read.

        Raises InvariantViolation where the lines are not the payment, or are not what they were when the
        statement was first written.
        """
        account, currency = self.statement.account, self.statement.currency
        reader = LineReader(
            party_id=self.statement.party_id,
            account=account,
            currency=currency,
            zone=ZoneInfo(self.statement.time_zone),
            before={} if self._previous is None else self._previous.cut,
            names=self._names,
        )
        yield Record(text=self.writer.opening())
        found = store.lines(
            connection, self._stored, previous=self._previous, planned_at=self._payment["planned_at"]
        )
        async with aclosing(found) as batches:
            async for rows in batches:
                await reader.learn(connection, rows)
                sealed = await self._sealing(connection, rows[0], {_key(row) for row in rows})
                for record in await self._apart(partial(self._work, reader, rows, sealed)):
                    yield record
        own = {(self.statement.disbursement_id, "disbursement", "")}
        sealed = await self._sealing(connection, self._payment, own)
        yield await self._apart(partial(self._proof, sealed))
        yield Record(text=self.writer.payment())
        yield Record(text=self.writer.closing())
        self._check()
        yield Record(text=self.writer.status(self.status))

    async def _sealing(
        self, connection: Connection, row: Any, only: set[EntryKey]
    ) -> Callable[[], StatementBatch]:
        """What is to be computed of a batch, with all that it needs read."""
        found = await store.batch_rows(connection, row["batch_id"], sorted(only))
        return partial(seal, {**dict(row.items()), "id": row["batch_id"]}, found, only=only)

    def _work(
        self, reader: LineReader, rows: Sequence[Any], sealing: Callable[[], StatementBatch]
    ) -> list[Record]:
        """The lines of one batch and its proof: computing alone."""
        sealed = sealing()
        lines = [Record(text=self.writer.line(line), line=line) for line in reader.lines(rows, sealed)]
        return [*lines, self._proof(lambda: sealed)]

    def _proof(self, sealing: Callable[[], StatementBatch]) -> Record:
        record, _, _ = batch_record(
            sealing(), account=self.statement.account, currency=self.statement.currency
        )
        return Record(text=self.writer.batch(record))

    def _check(self) -> None:
        known = self._stored.sha256
        if known is not None and known != self.writer.seal:
            raise InvariantViolation(
                f"the statement of {self.statement.disbursement_id} was issued as {known}, "
                f"its stored rows now give {self.writer.seal}"
            )

    async def keep(self, connection: Connection) -> None:
        """Keep the seal, after the last record; it stands from then on."""
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
    names: Names,
    apart: Apart = in_turn,
) -> StatementRun:
    """A writing of an issued statement; a batch at a time is computed by `apart`, such as in a thread.

    Raises StateConflictError where none was issued.
    """
    stored = await store.stored(connection, disbursement_id)
    payment = await store.payment(connection, disbursement_id)
    if stored is None or payment is None:
        raise StateConflictError(f"payment {disbursement_id} has no statement yet")
    previous = await store.of_number(
        connection, party_id=stored.party_id, currency=stored.currency, number=stored.number - 1
    )
    line = await store.bank_line(connection, payment["end_to_end_id"])
    return StatementRun(
        statement=_statement(stored, payment, names),
        status=Status(
            as_of=now,
            state=payment["state"],
            returned_at=payment["returned_at"],
            reason=None if payment["failure"] is None else payment["failure"].removeprefix("returned: "),
            bank_line=None if line is None else line["source_id"],
            bank_day=None if line is None else line["occurred_on"],
        ),
        stored=stored,
        previous=previous,
        payment={**dict(payment.items()), "id": payment["id"]},
        names=names,
        apart=apart,
    )


async def paid_between(
    connection: Connection, *, since: date, until: date, party_id: str | None
) -> Sequence[UUID]:
    """Payments that were made on the days from `since` to `until`, both inclusive, in UTC."""
    start = datetime.combine(since, datetime.min.time(), UTC)
    end = datetime.combine(until, datetime.min.time(), UTC) + timedelta(days=1)
    return await store.paid_between(connection, since=start, until=end, party_id=party_id)


def _statement(stored: StoredStatement, payment: Any, names: Names) -> Statement:
    head: Mapping[str, Any] = json.loads(stored.head)
    return Statement(
        number=stored.number,
        disbursement=names("dis", stored.disbursement_id),
        disbursement_id=stored.disbursement_id,
        party_id=stored.party_id,
        party_name=head["name"],
        country=head["country"],
        time_zone=head["time_zone"],
        account=payable_path(PartyKind(payment["party_kind"]), stored.party_id),
        currency=stored.currency,
        period=payment["period"],
        opening_minor=stored.opening_minor,
        closing_minor=stored.closing_minor,
        payout=Payout(
            rail=payment["rail"],
            amount_minor=payment["amount_minor"],
            end_to_end_id=payment["end_to_end_id"],
            rail_reference=payment["rail_reference"],
            destination=f"…{payment['destination'][-_SHOWN_OF_ACCOUNT:]}",
            file=payment["message_id"],
            planned_at=payment["planned_at"],
            paid_at=payment["finished_at"],
        ),
        issued_at=stored.issued_at,
        holds=[_hold(*told) for told in head["holds"]],
        documents=[_document(*told) for told in head["documents"]],
        documents_total=head["documents_total"],
    )


def _hold(reason: str, since: str, until: str | None, lifted_at: str | None) -> Hold:
    return Hold(
        reason=reason,
        since=date.fromisoformat(since),
        until=None if until is None else date.fromisoformat(until),
        lifted_at=None if lifted_at is None else datetime.fromisoformat(lifted_at),
    )


def _document(number: str, type_code: int, gross_minor: int, currency: str, issued_at: str) -> IssuedDocument:
    return IssuedDocument(
        number=number,
        type_code=type_code,
        gross_minor=gross_minor,
        currency=currency,
        issued_at=datetime.fromisoformat(issued_at),
    )


def _key(row: Any) -> EntryKey:
    return row["subject_id"], row["kind"], row["reference"]
