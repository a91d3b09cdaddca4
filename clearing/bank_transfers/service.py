"""The bank as a rail: payment files out, status reports and statements in.

Owns: which disbursements go into which file, and how the bank's messages change them. Must not know: where
files are written. Every method takes the connection; none commits.

A file is recorded whole, with its hash, in the transaction that requests its disbursements; only then is
it written. If the process ends in between, the next one finds the unsent file and writes the same bytes:
the bank recognizes them by their message id.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from itertools import groupby
from typing import IO, Final
from uuid import UUID, uuid5

from clearing.bank_transfers import repository
from clearing.bank_transfers.payment_file import RecordedFile
from clearing.calendar import Calendars
from clearing.connection import Connection
from clearing.errors import ClearingConflictError, InvalidPaymentError
from clearing.iso20022 import pain001, pain002
from clearing.iso20022.bank_entry import BankLine, BankLineState
from clearing.iso20022.creditor_reference import is_qr_iban, parse_reference
from clearing.iso20022.pain001 import CreditTransfer, PaymentBatch, PaymentFile, Service
from clearing.parties.bank_details import BankDetails
from clearing.payouts.administration import PayoutAdministration, ReturnedDisbursement
from clearing.payouts.cancellation import find_cancellation_reason
from clearing.payouts.disbursement import (
    Disbursement,
    DisbursementState,
    Paid,
    Rejected,
    is_ours,
)
from clearing.payouts.disbursement_service import DisbursementService
from clearing.reference_data import bundled_data
from clearing.reference_data.service import ReferenceDataService

_NAMESPACE: Final = UUID("7c2f1c46-2a35-5d0e-8a6e-60a4f8d2b9a7")
MAX_PAYMENTS: Final = 10_000  # in one file
_AWAITING_BANK: Final = frozenset({DisbursementState.REQUESTED, DisbursementState.OUTCOME_UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFileResult:
    """The file, if there was anything to pay, and the disbursements that were left out of it."""

    file: RecordedFile | None
    cancelled: Sequence[Disbursement] = ()
    rejected: Sequence[Disbursement] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BankOutcome:
    """What a status report or statement changed: the disbursements paid, failed and returned."""

    paid: Sequence[Disbursement] = ()
    failed: Sequence[Disbursement] = ()
    returned: Sequence[ReturnedDisbursement] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileItem:
    """A disbursement that goes into a file."""

    disbursement_id: UUID
    service: Service
    transfer: CreditTransfer


class BankTransferService:
    """Bank disbursements from planned to paid."""

    def __init__(
        self,
        reference_data: ReferenceDataService,
        disbursements: DisbursementService,
        administration: PayoutAdministration,
        *,
        debtor: BankDetails | None = None,
        calendars: Calendars | None = None,
    ) -> None:
        """`debtor`: the account that pays, needed to create a file. `calendars`: by default bundled."""
        self._reference_data = reference_data
        self._disbursements = disbursements
        self._administration = administration
        self._debtor = debtor
        self._calendars = calendars or bundled_data.calendars()

    async def create_payment_file(
        self, connection: Connection, *, execution_date: date, now: datetime, instant: bool = False
    ) -> PaymentFileResult:
        """Put every planned and approved bank disbursement into one recorded file.

        Those in a currency that does not settle on `execution_date` wait; those that may no longer be sent
        are cancelled first. `instant`: SEPA Instant also for parties that did not choose it. Raises
        ClearingConflictError without a paying account, CalendarExhaustedError.
        """
        debtor = self._debtor
        if debtor is None:
            raise ClearingConflictError("no paying account is set")
        cancelled = await self._administration.cancel_unpayable(connection, now=now)
        currencies = [
            currency
            for currency in await repository.list_planned_currencies(connection)
            if self._calendars.is_clearing_day(execution_date, currency=currency, country=debtor.country)
        ]
        items, rejected = await self._file_items(connection, debtor, currencies, now=now, instant=instant)
        if not items:
            return PaymentFileResult(file=None, cancelled=cancelled, rejected=rejected)
        message_id = f"NC{uuid5(_NAMESPACE, str(items[0].disbursement_id)).hex}"
        batches = [
            PaymentBatch(
                id=f"{message_id[:28]}-{number}",
                service=service,
                currency=currency,
                execution_date=execution_date,
                transfers=[item.transfer for item in group],
            )
            for number, ((service, currency), group) in enumerate(
                groupby(sorted(items, key=_batch_key), key=_batch_key), start=1
            )
        ]
        file = PaymentFile(message_id=message_id, created_at=now, debtor=debtor, batches=batches)
        written = pain001.write(file)
        batch_of = {one.end_to_end_id: batch.id for batch in batches for one in batch.transfers}
        batch_ids = {item.disbursement_id: batch_of[item.transfer.end_to_end_id] for item in items}
        await repository.insert_file(connection, message_id, written, batch_ids=batch_ids, now=now)
        recorded = RecordedFile(message_id=message_id, content=written.content, sha256=written.sha256)
        return PaymentFileResult(file=recorded, cancelled=cancelled, rejected=rejected)

    async def _file_items(
        self,
        connection: Connection,
        debtor: BankDetails,
        currencies: Sequence[str],
        *,
        now: datetime,
        instant: bool,
    ) -> tuple[list[_FileItem], list[Disbursement]]:
        """Disbursements that a bank would accept, and those that none would.

        The latter fail with the reason and are planned again: they do not hold up the others.
        """
        parties = await self._reference_data.load_parties(connection)
        items: list[_FileItem] = []
        rejected: list[Disbursement] = []
        for one in await repository.lock_payable(connection, currencies=currencies, limit=MAX_PAYMENTS):
            party = parties[one.party_id]
            if find_cancellation_reason(one, party, now=now) is not None:
                continue
            terms = party.payout_terms
            try:
                service = _service(
                    debtor, one, instant=instant or terms.instant(one.amount_minor, one.currency)
                )
                transfer = _credit_transfer(one, terms.bank)
                pain001.check_transfer(transfer, service=service)
            except (InvalidPaymentError, ClearingConflictError) as error:
                outcome = Rejected(code="not_payable", detail=str(error))
                if await self._disbursements.begin(connection, one.id, now=now) is not None:
                    rejected.append(
                        await self._disbursements.record_outcome(connection, one.id, outcome, now=now)
                    )
                continue
            items.append(_FileItem(disbursement_id=one.id, service=service, transfer=transfer))
        return items, rejected

    async def import_status_report(
        self, connection: Connection, stream: IO[bytes], *, now: datetime
    ) -> BankOutcome:
        """Import a pain.002: what it rejects reopens its payables, what it settles is paid.

        A disbursement that has ended stays as it is: reports arrive twice and out of order. Raises
        UnreadableMessageError; ClearingConflictError for a file that isn't ours.
        """
        report = pain002.read(stream)
        items = await repository.list_disbursements_of_file(connection, report.original_message_id)
        if not items:
            raise ClearingConflictError(
                f"there is no payment file with the message id {report.original_message_id!r}"
            )
        paid: list[Disbursement] = []
        failed: list[Disbursement] = []
        for item in items:
            reported = report.outcome_of(end_to_end_id=item.end_to_end_id, batch_id=item.batch_id)
            if reported is None or item.state not in _AWAITING_BANK:
                continue
            outcome, reason = reported
            record = partial(self._disbursements.record_outcome, connection, item.disbursement_id, now=now)
            if outcome is pain002.CreditTransferOutcome.REJECTED:
                failed.append(
                    await record(Rejected(code="bank_rejected", detail=reason or "no reason given"))
                )
            elif outcome is pain002.CreditTransferOutcome.SETTLED:
                paid.append(await record(Paid(rail_reference=item.end_to_end_id)))
        return BankOutcome(paid=paid, failed=failed)

    async def import_statement(
        self, connection: Connection, lines: Iterable[BankLine], *, now: datetime
    ) -> BankOutcome:
        """Apply booked lines to our disbursements, by end-to-end id and amount; repeatable in any order.

        A debit of the whole amount settles, a credit of it returns. Anything else is left to reconciliation.
        """
        paid: list[Disbursement] = []
        returned: list[ReturnedDisbursement] = []
        for line in lines:
            if not is_ours(line.end_to_end_id) or line.state is not BankLineState.BOOKED:
                continue
            found = await repository.find_disbursement(connection, line.end_to_end_id)
            if found is None or (found.currency, found.amount_minor) != (
                line.currency,
                abs(line.amount_minor),
            ):
                continue
            if line.amount_minor < 0 and found.state in _AWAITING_BANK:
                outcome = Paid(rail_reference=line.end_to_end_id)
                paid.append(await self._disbursements.record_outcome(connection, found.id, outcome, now=now))
            elif line.amount_minor > 0 and found.state is DisbursementState.PAID:
                reason = line.return_reason or "credited back"
                one = await self._administration.record_return(connection, found.id, reason=reason, now=now)
                returned += [] if one is None else [one]
        return BankOutcome(paid=paid, returned=returned)


def _service(debtor: BankDetails, disbursement: Disbursement, *, instant: bool) -> Service:
    swiss = {debtor.country, disbursement.destination[:2]} <= {"CH", "LI"}
    if swiss or disbursement.currency != "EUR" or is_qr_iban(disbursement.destination):
        if debtor.country not in {"CH", "LI"}:
            raise InvalidPaymentError(
                disbursement.end_to_end_id,
                f"{disbursement.currency} to this account needs a paying account in CH or LI",
            )
        return Service.SWISS
    return Service.SEPA_INSTANT if instant else Service.SEPA


def _batch_key(item: _FileItem) -> tuple[Service, str]:
    return item.service, item.transfer.currency


def _credit_transfer(disbursement: Disbursement, bank: BankDetails | None) -> CreditTransfer:
    if bank is None or bank.iban != disbursement.destination:
        raise ClearingConflictError(
            f"the bank account of {disbursement.party_id} changed "
            f"after {disbursement.end_to_end_id} was planned"
        )
    return CreditTransfer(
        end_to_end_id=disbursement.end_to_end_id,
        amount_minor=disbursement.amount_minor,
        currency=disbursement.currency,
        creditor=bank,
        remittance=f"Charging sessions, payment {disbursement.end_to_end_id}",
        reference=None if bank.reference is None else parse_reference(bank.reference),
    )
