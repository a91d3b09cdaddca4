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
from functools import partial
from itertools import groupby
from typing import IO, Final
from uuid import UUID, uuid5

from clearing import reference
from clearing.calendar import Calendars
from clearing.connection import Connection, named_queries, rows
from clearing.desks.payout_desk import PayoutDesk, Returned
from clearing.errors import InvalidPaymentError, StateConflictError
from clearing.iso20022 import pain001, pain002
from clearing.iso20022.camt import BankLine, BankLineState
from clearing.iso20022.pain001 import Payment, PaymentBatch, PaymentFile, Service, WrittenFile
from clearing.iso20022.references import is_qr_iban, parse_reference
from clearing.parties.bank_details import BankDetails
from clearing.payouts.disbursement import Disbursement, Paid, Rejected, is_ours
from clearing.service import ClearingService
from clearing.store import bank_files as store
from clearing.store.bank_files import RecordedFile
from clearing.work.stopping import reason_to_stop

_sql = named_queries("reconciliation")
_NAMESPACE: Final = UUID("7c2f1c46-2a35-5d0e-8a6e-60a4f8d2b9a7")
MAX_PAYMENTS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What a drawing did: the file, if there was anything to pay, and payments that were kept out of it."""

    file: RecordedFile | None
    withdrawn: Sequence[Disbursement] = ()
    refused: Sequence[Disbursement] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAnswer:
    """What a report or statement did: the payments that it settled, rejected, and sent back."""

    paid: Sequence[Disbursement] = ()
    failed: Sequence[Disbursement] = ()
    came_back: Sequence[Returned] = ()

    @property
    def settled(self) -> int:
        """How many payments are paid by the bank's word."""
        return len(self.paid)

    @property
    def rejected(self) -> int:
        """How many the bank refused."""
        return len(self.failed)

    @property
    def returned(self) -> int:
        """How many came back."""
        return len(self.came_back)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """A payment that goes into a file."""

    disbursement_id: UUID
    service: Service
    payment: Payment


class BankRail:
    """Bank payments from planned to booked."""

    def __init__(
        self,
        clearing: ClearingService,
        desk: PayoutDesk,
        *,
        debtor: BankDetails | None = None,
        calendars: Calendars | None = None,
    ) -> None:
        """`debtor`: the account that pays; without it no file is drawn. `calendars`: the bundled ones."""
        self._clearing = clearing
        self._desk = desk
        self._debtor = debtor
        self._calendars = calendars or reference.calendars()

    async def draw_file(
        self, connection: Connection, *, execution_date: date, now: datetime, instant: bool = False
    ) -> RecordedFile | None:
        """As `draw`, of which it gives the file."""
        drawing = await self.draw(connection, execution_date=execution_date, now=now, instant=instant)
        return drawing.file

    async def draw(
        self, connection: Connection, *, execution_date: date, now: datetime, instant: bool = False
    ) -> Drawing:
        """Put every released bank payment into one recorded file.

        Those of a currency that does not settle on `execution_date` wait; what may no longer be sent is
        withdrawn first. `instant`: SEPA Instant also for parties that did not agree to it. Raises
        StateConflictError without a paying account, CalendarExhaustedError.
        """
        debtor = self._debtor
        if debtor is None:
            raise StateConflictError("no paying account is set")
        withdrawn = await self._desk.withdraw_stopped(connection, now=now)
        currencies = [
            currency
            for currency in await store.drawable_currencies(connection)
            if self._calendars.is_clearing_day(execution_date, currency=currency, country=debtor.country)
        ]
        drawn, refused = await self._drawable(connection, debtor, currencies, now=now, instant=instant)
        if not drawn:
            return Drawing(file=None, withdrawn=withdrawn, refused=refused)
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
        recorded = await self._record(connection, file, pain001.write(file), drawn, now=now)
        return Drawing(file=recorded, withdrawn=withdrawn, refused=refused)

    async def _drawable(
        self,
        connection: Connection,
        debtor: BankDetails,
        currencies: Sequence[str],
        *,
        now: datetime,
        instant: bool,
    ) -> tuple[list[_Drawn], list[Disbursement]]:
        """Released payments that a bank would take, and those that none would.

        These fail with the reason and are planned again: they keep nobody else waiting.
        """
        parties = await self._clearing.parties(connection)
        drawn: list[_Drawn] = []
        refused: list[Disbursement] = []
        for one in await store.to_draw(connection, currencies=currencies, limit=MAX_PAYMENTS):
            party = parties[one.party_id]
            if reason_to_stop(one, party, now=now) is not None:
                continue
            terms = party.payout_terms
            try:
                service = _service(
                    debtor, one, instant=instant or terms.instant(one.amount_minor, one.currency)
                )
                payment = _payment(one, terms.bank)
                pain001.check_payment(payment, service=service)
            except (InvalidPaymentError, StateConflictError) as error:
                outcome = Rejected(code="not_payable", detail=str(error))
                if await self._clearing.begin_disbursement(connection, one.id, now=now) is not None:
                    refused.append(await self._clearing.record_outcome(connection, one.id, outcome, now=now))
                continue
            drawn.append(_Drawn(disbursement_id=one.id, service=service, payment=payment))
        return drawn, refused

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
        paid: list[Disbursement] = []
        failed: list[Disbursement] = []
        for row in payments:
            told = report.verdict_of(end_to_end_id=row["end_to_end_id"], batch_id=row["batch_id"])
            if told is None or row["state"] not in {"requested", "outcome_unknown"}:
                continue
            verdict, reason = told
            record = partial(self._clearing.record_outcome, connection, row["disbursement_id"], now=now)
            if verdict is pain002.Verdict.REJECTED:
                failed.append(
                    await record(Rejected(code="bank_rejected", detail=reason or "no reason given"))
                )
            elif verdict is pain002.Verdict.SETTLED:
                paid.append(await record(Paid(rail_reference=row["end_to_end_id"])))
        return BankAnswer(paid=paid, failed=failed)

    async def statement(
        self, connection: Connection, lines: Iterable[BankLine], *, now: datetime
    ) -> BankAnswer:
        """What booked lines say of payments of ours, by end-to-end id and amount; repeatable in any order.

        A debit of the whole amount settles, a credit of it returns. Anything else is left to reconciliation.
        """
        paid: list[Disbursement] = []
        came_back: list[Returned] = []
        for line in lines:
            if not is_ours(line.end_to_end_id) or line.state is not BankLineState.BOOKED:
                continue
            row = await _sql.payment_of(connection, end_to_end_id=line.end_to_end_id)
            if (
                row is None
                or row["currency"] != line.currency
                or row["amount_minor"] != abs(line.amount_minor)
            ):
                continue
            if line.amount_minor < 0 and row["state"] in {"requested", "outcome_unknown"}:
                outcome = Paid(rail_reference=line.end_to_end_id)
                paid.append(await self._clearing.record_outcome(connection, row["id"], outcome, now=now))
            elif line.amount_minor > 0 and row["state"] == "paid":
                reason = line.return_reason or "credited back"
                returned = await self._desk.returned(connection, row["id"], reason=reason, now=now)
                came_back += [] if returned is None else [returned]
        return BankAnswer(paid=paid, came_back=came_back)


def _service(debtor: BankDetails, payment: Disbursement, *, instant: bool) -> Service:
    swiss = {debtor.country, payment.destination[:2]} <= {"CH", "LI"}
    if swiss or payment.currency != "EUR" or is_qr_iban(payment.destination):
        if debtor.country not in {"CH", "LI"}:
            raise InvalidPaymentError(
                payment.end_to_end_id,
                f"{payment.currency} to this account needs a paying account in CH or LI",
            )
        return Service.SWISS
    return Service.SEPA_INSTANT if instant else Service.SEPA


def _batch_key(one: _Drawn) -> tuple[Service, str]:
    return one.service, one.payment.currency


def _payment(payment: Disbursement, bank: BankDetails | None) -> Payment:
    if bank is None or bank.iban != payment.destination:
        raise StateConflictError(
            f"{payment.party_id}: its bank account changed after {payment.end_to_end_id} was planned"
        )
    return Payment(
        end_to_end_id=payment.end_to_end_id,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        creditor=bank,
        remittance=f"Charging sessions, payment {payment.end_to_end_id}",
        reference=None if bank.reference is None else parse_reference(bank.reference),
    )
