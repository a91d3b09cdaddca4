"""The bank as a disbursement rail: files drawn, status reports and statements worked in.

Owns: which payments go into which file, and what a bank's word does to a payment. Must not know: where files
lie. Every method takes the connection; none commits.

A file is recorded whole, with its hash, in the transaction that hands its payments to the bank; only then is
a byte of it written. Whoever dies in between finds it among `files_to_send` and writes the same file again,
which the bank knows by its message id.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import IO, Any, Final
from uuid import UUID, uuid5

from clearing.connection import Connection, named_queries, rows
from clearing.desks.payout_desk import PayoutDesk
from clearing.errors import InvalidPaymentError, StateConflictError
from clearing.iso20022 import pain001, pain002
from clearing.iso20022.camt import BankLine, BankLineState
from clearing.iso20022.pain001 import Payment, PaymentBatch, PaymentFile, Service, WrittenFile
from clearing.iso20022.references import is_qr_iban
from clearing.parties.bank_details import BankDetails
from clearing.payouts.disbursement import Paid, Rejected
from clearing.service import ClearingService

_sql = named_queries("reconciliation")
_NAMESPACE: Final = UUID("7c2f1c46-2a35-5d0e-8a6e-60a4f8d2b9a7")
MAX_PAYMENTS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFile:
    """A file as recorded: the same bytes however often it is asked for."""

    message_id: str
    content: bytes
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAnswer:
    """What a report or statement did: how many payments it settled, rejected and returned."""

    settled: int = 0
    rejected: int = 0
    returned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """A payment that goes into a file."""

    disbursement_id: UUID
    service: Service
    payment: Payment


class BankRail:
    """Bank payments from planned to booked."""

    def __init__(
        self, clearing: ClearingService, desk: PayoutDesk, *, debtor: BankDetails | None = None
    ) -> None:
        """`debtor`: the account that pays; without it no file is drawn."""
        self._clearing = clearing
        self._desk = desk
        self._debtor = debtor

    async def draw_file(
        self, connection: Connection, *, execution_date: date, now: datetime, instant: bool = False
    ) -> RecordedFile | None:
        """Put every released bank payment into one recorded file; None if there is none.

        Raises StateConflictError without a paying account.
        """
        debtor = self._debtor
        if debtor is None:
            raise StateConflictError("no paying account is set")
        drawn = await self._drawable(connection, debtor, now=now, instant=instant)
        if not drawn:
            return None
        message_id = f"NC{uuid5(_NAMESPACE, str(drawn[0].disbursement_id)).hex}"
        batches = [
            PaymentBatch(
                id=f"{message_id[:28]}-{number}",
                service=service,
                currency=currency,
                execution_date=execution_date,
                payments=[one.payment for one in group],
            )
            for number, ((service, currency), group) in enumerate(
                groupby(sorted(drawn, key=_batch_key), key=_batch_key), start=1
            )
        ]
        file = PaymentFile(message_id=message_id, created_at=now, debtor=debtor, batches=batches)
        return await self._record(connection, file, pain001.write(file), drawn, now=now)

    async def _drawable(
        self, connection: Connection, debtor: BankDetails, *, now: datetime, instant: bool
    ) -> list[_Drawn]:
        """Released payments that a bank would take.

        Those of a party that is held by now wait; one that no bank would take, or whose account has changed
        since it was planned, fails with the reason and is planned again: it keeps nobody else waiting.
        """
        parties = await self._clearing.parties(connection)
        drawn: list[_Drawn] = []
        for row in await rows(_sql.to_draw(connection, limit=MAX_PAYMENTS)):
            party = parties[row["party_id"]]
            terms = party.payout_terms
            if party.payout_hold is not None or terms.bank_pending or terms.held_on(now.date()) is not None:
                continue
            try:
                service = _service(debtor, row, instant=instant)
                payment = _payment(row, terms.bank)
                pain001.check_payment(payment, service=service)
            except (InvalidPaymentError, StateConflictError) as error:
                await self._clearing.begin_disbursement(connection, row["id"], now=now)
                refused = Rejected(code="not_payable", detail=str(error))
                await self._clearing.record_outcome(connection, row["id"], refused, now=now)
                continue
            drawn.append(_Drawn(disbursement_id=row["id"], service=service, payment=payment))
        return drawn

    async def _record(
        self,
        connection: Connection,
        file: PaymentFile,
        written: WrittenFile,
        drawn: Sequence[_Drawn],
        *,
        now: datetime,
    ) -> RecordedFile:
        await _sql.insert_file(
            connection,
            message_id=file.message_id,
            now=now,
            content=written.content,
            sha256=written.sha256,
            payment_count=written.count,
            control_sum=written.control_sum,
        )
        batch_of = {one.end_to_end_id: batch.id for batch in file.batches for one in batch.payments}
        ids = [one.disbursement_id for one in drawn]
        await _sql.insert_file_items(
            connection,
            message_id=file.message_id,
            ids=ids,
            batches=[batch_of[one.payment.end_to_end_id] for one in drawn],
        )
        await _sql.request_drawn(connection, ids=ids, now=now)
        return RecordedFile(message_id=file.message_id, content=written.content, sha256=written.sha256)

    async def files_to_send(self, connection: Connection, *, limit: int = 10) -> list[RecordedFile]:
        """Recorded files that are not known to have reached the bank, the oldest first."""
        return [
            RecordedFile(**dict(row.items()))
            for row in await rows(_sql.files_to_send(connection, limit=limit))
        ]

    async def mark_sent(self, connection: Connection, message_id: str, *, now: datetime) -> None:
        """The bank has it."""
        await _sql.mark_sent(connection, message_id=message_id, now=now)

    async def status_report(self, connection: Connection, stream: IO[bytes], *, now: datetime) -> BankAnswer:
        """Work a pain.002 in: what is rejected opens its payables, what is settled is paid.

        A payment that ended before is left as it is: reports come twice and out of order. Raises
        UnreadableMessageError; StateConflictError for a file that isn't ours.
        """
        report = pain002.read(stream)
        payments = await rows(_sql.payments_of_file(connection, message_id=report.original_message_id))
        if not payments:
            raise StateConflictError(f"no payment file of ours is called {report.original_message_id!r}")
        settled = rejected = 0
        for row in payments:
            told = report.verdict_of(end_to_end_id=row["end_to_end_id"], batch_id=row["batch_id"])
            if told is None or row["state"] not in {"requested", "outcome_unknown"}:
                continue
            verdict, reason = told
            if verdict is pain002.Verdict.REJECTED:
                outcome = Rejected(code="bank_rejected", detail=reason or "no reason given")
                await self._clearing.record_outcome(connection, row["disbursement_id"], outcome, now=now)
                rejected += 1
            elif verdict is pain002.Verdict.SETTLED:
                paid = Paid(rail_reference=row["end_to_end_id"])
                await self._clearing.record_outcome(connection, row["disbursement_id"], paid, now=now)
                settled += 1
        return BankAnswer(settled=settled, rejected=rejected)

    async def statement(
        self, connection: Connection, lines: Iterable[BankLine], *, now: datetime
    ) -> BankAnswer:
        """What booked lines say of payments of ours, by end-to-end id and amount; repeatable in any order.

        A debit of the whole amount settles, a credit of it returns. Anything else is left to reconciliation.
        """
        settled = returned = 0
        for line in lines:
            if line.end_to_end_id is None or line.state is not BankLineState.BOOKED:
                continue
            row = await _sql.payment_of(connection, end_to_end_id=line.end_to_end_id)
            if (
                row is None
                or row["currency"] != line.currency
                or row["amount_minor"] != abs(line.amount_minor)
            ):
                continue
            if line.amount_minor < 0 and row["state"] in {"requested", "outcome_unknown"}:
                paid = Paid(rail_reference=line.end_to_end_id)
                await self._clearing.record_outcome(connection, row["id"], paid, now=now)
                settled += 1
            elif line.amount_minor > 0 and row["state"] == "paid":
                reason = line.return_reason or "credited back"
                returned += await self._desk.returned(connection, row["id"], reason=reason, now=now)
        return BankAnswer(settled=settled, returned=returned)


def _service(debtor: BankDetails, row: Any, *, instant: bool) -> Service:
    swiss = {debtor.country, row["destination"][:2]} <= {"CH", "LI"}
    if swiss or row["currency"] != "EUR" or is_qr_iban(row["destination"]):
        return Service.SWISS
    return Service.SEPA_INSTANT if instant else Service.SEPA


def _batch_key(one: _Drawn) -> tuple[Service, str]:
    return one.service, one.payment.currency


def _payment(row: Any, bank: BankDetails | None) -> Payment:
    if bank is None or bank.iban != row["destination"]:
        raise StateConflictError(
            f"{row['party_id']}: its bank account changed after payment {row['end_to_end_id']} was planned"
        )
    return Payment(
        end_to_end_id=row["end_to_end_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        creditor=bank,
        remittance=f"Charging sessions, payment {row['end_to_end_id']}",
    )
