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

from clearing.bank_details import BankDetails
from clearing.connection import Connection, named_queries, rows
from clearing.disbursement import Paid, Rejected
from clearing.errors import StateConflictError
from clearing.iso20022 import pain001, pain002
from clearing.iso20022.camt import BankLine, BankLineState
from clearing.iso20022.pain001 import Payment, PaymentBatch, PaymentFile, Service, WrittenFile
from clearing.iso20022.references import is_qr_iban
from clearing.payout_desk import PayoutDesk
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

        Raises InvalidPaymentError, naming the payment that no bank would take: nothing is drawn then.
        """
        debtor = self._debtor
        if debtor is None:
            raise StateConflictError("no paying account is set")
        found = await rows(_sql.to_draw(connection, limit=MAX_PAYMENTS))
        if not found:
            return None
        parties = await self._clearing.parties(connection)
        message_id = f"NC{uuid5(_NAMESPACE, str(found[0]['id'])).hex}"
        batches: list[PaymentBatch] = []
        keyed = [(_service(debtor, row, instant=instant), row["currency"], row) for row in found]
        for (service, currency), group in groupby(sorted(keyed, key=_batch_key), key=_batch_key):
            payments = [_payment(row, parties[row["party_id"]].payout_terms.bank) for _, _, row in group]
            batches.append(
                PaymentBatch(
                    id=f"{message_id[:28]}-{len(batches) + 1}", service=Service(service), currency=currency,
                    execution_date=execution_date, payments=payments,
                )
            )  # fmt: skip
        file = PaymentFile(message_id=message_id, created_at=now, debtor=debtor, batches=batches)
        return await self._record(connection, file, pain001.write(file), found, now=now)

    async def _record(
        self,
        connection: Connection,
        file: PaymentFile,
        written: WrittenFile,
        found: Sequence[Any],
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
        ids = [row["id"] for row in found]
        await _sql.insert_file_items(
            connection,
            message_id=file.message_id,
            ids=ids,
            batches=[batch_of[row["end_to_end_id"]] for row in found],
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


def _service(debtor: BankDetails, row: Any, *, instant: bool) -> str:
    swiss = {debtor.country, row["destination"][:2]} <= {"CH", "LI"}
    if swiss or row["currency"] != "EUR" or is_qr_iban(row["destination"]):
        return Service.SWISS.value
    return (Service.SEPA_INSTANT if instant else Service.SEPA).value


def _batch_key(item: tuple[str, str, Any]) -> tuple[str, str]:
    return item[0], item[1]


def _payment(row: Any, bank: BankDetails | None) -> Payment:
    if bank is None or bank.iban != row["destination"]:
        raise StateConflictError(
            f"{row['party_id']}: its bank account changed after payment {row['end_to_end_id']} was planned; "
            "fail the payment, so that it is planned again"
        )
    return Payment(
        end_to_end_id=row["end_to_end_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        creditor=bank,
        remittance=f"Charging sessions, payment {row['end_to_end_id']}",
    )
