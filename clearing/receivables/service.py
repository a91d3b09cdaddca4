"""Receivables of parties: their age, their set-off against payables in another currency, their write-off.

Owns: when each is allowed, and the rate of a set-off. Must not know: HTTP, who is logged in. A receivable
that is repaid is a bank line, resolved as a receivable payment. Every method takes the connection; none
commits.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from clearing.approvals import service as approvals
from clearing.approvals.request import ApprovalRequest, Proposal
from clearing.approvals.rules import ApprovalState, Resolution
from clearing.connection import Connection
from clearing.errors import ClearingConflictError, InvalidPartyError
from clearing.fx import publication_day
from clearing.ledger import adjustments
from clearing.ledger.adjustments import entries_from
from clearing.ledger.journal_entry import JournalEntry
from clearing.parties.party import Party
from clearing.payouts import repository as payout_repository
from clearing.receivables import repository
from clearing.receivables.ageing import AgedReceivable, aged, may_be_written_off
from clearing.receivables.set_off import covering_amount
from clearing.reference_data import repository as reference_repository
from clearing.reference_data.service import ReferenceDataService

_NAMESPACE: Final = UUID("5d0c7a44-3d35-5a1c-9f6e-3d6f0a8b1e52")


class ReceivablesService:
    """Receivables of parties, and the two ways to settle them without a bank payment."""

    def __init__(self, reference_data: ReferenceDataService) -> None:
        """`reference_data` knows the parties."""
        self._reference_data = reference_data

    async def list_receivables(
        self, connection: Connection, *, now: datetime, party_id: str | None = None
    ) -> list[AgedReceivable]:
        """Every receivable with its age and buckets, the oldest first; of one party, or of all."""
        lines = await repository.list_receivable_lines(connection)
        selected = [line for line in lines if party_id in (None, line.party_id)]
        return aged(selected, today=now.date())

    async def record_set_off_consent(
        self, connection: Connection, party_id: str, *, agreed_on: date, evidence: str, by: str
    ) -> None:
        """Record a party's consent to set off its receivables against its payables; repeatable."""
        await self._party(connection, party_id)
        if not (evidence.strip() and by.strip()):
            raise ClearingConflictError("evidence, by: say where the consent is stored and who recorded it")
        await repository.insert_consent(
            connection, party_id, agreed_on=agreed_on, evidence=evidence.strip(), by=by.strip()
        )

    async def end_set_off_consent(
        self, connection: Connection, party_id: str, *, agreed_on: date, now: datetime
    ) -> None:
        """End the consent of `agreed_on`, and any earlier one, today: nothing is set off under it any more.

        Raises ClearingConflictError if there is no such consent in force, InvalidPartyError.
        """
        party = await self._party(connection, party_id)
        today = max(agreed_on, _local_day(party, now))
        if not await repository.end_consents(connection, party_id, agreed_on=agreed_on, ended_on=today):
            raise ClearingConflictError(f"{party_id} has no consent of {agreed_on} in force")

    async def set_off(
        self,
        connection: Connection,
        party_id: str,
        *,
        currency: str,
        from_currency: str,
        reason: str,
        by: str,
        now: datetime,
    ) -> ApprovalRequest:
        """Pay a receivable in `currency` from payables in `from_currency`, at the day's locked rate.

        As much as both allow. Raises ClearingConflictError without the party's consent, a receivable or
        payables; RateUnavailableError.
        """
        await approvals.lock_approvals(connection)
        party = await self._party(connection, party_id)
        today = _local_day(party, now)
        if not await repository.has_consent(connection, party_id, day=today):
            raise ClearingConflictError(f"{party_id} has not consented to set-off")
        await payout_repository.lock_planning(connection)
        receivable = -await repository.open_balance(connection, party_id, currency)
        payable = await repository.open_balance(connection, party_id, from_currency)
        if receivable <= 0 or payable <= 0:
            raise ClearingConflictError(
                f"{party_id} owes {max(0, receivable)} {currency} and is owed {max(0, payable)} "
                f"{from_currency}: a set-off needs both"
            )
        table = await reference_repository.load_rate_table(connection)
        lock = table.lock(base=from_currency, quote=currency, day=publication_day(now))
        used = min(payable, covering_amount(receivable, lock))
        request_id = uuid5(
            _NAMESPACE, f"{party_id}/{from_currency}/{currency}/{payable}/{receivable}/{lock.rate_date}"
        )
        entries = adjustments.set_off(party, named=str(request_id), lock=lock, claim_minor=used, due=today)
        return await self._propose(
            connection,
            resolution=Resolution.SET_OFF,
            request_id=request_id,
            party_id=party_id,
            currency=currency,
            minor=entries[1].gross_minor,
            entries=entries,
            reason=reason,
            by=by,
            now=now,
        )

    async def write_off(
        self, connection: Connection, party_id: str, *, currency: str, reason: str, by: str, now: datetime
    ) -> ApprovalRequest:
        """Propose to write off a receivable: of a deregistered party, or older than 90 days.

        A second person approves it. Raises ClearingConflictError.
        """
        await approvals.lock_approvals(connection)
        party = await self._party(connection, party_id)
        today = _local_day(party, now)
        found = [
            receivable
            for receivable in await self.list_receivables(connection, now=now, party_id=party_id)
            if receivable.currency == currency
        ]
        if not found:
            raise ClearingConflictError(f"{party_id} owes nothing in {currency}")
        (receivable,) = found
        if not may_be_written_off(receivable.age_days, deregistered=party.payout_terms.deregistered(today)):
            raise ClearingConflictError(
                f"{party_id} is registered and its receivable is {receivable.age_days} days old: "
                "collect it, or wait until it is older than 90 days"
            )
        request_id = uuid5(
            _NAMESPACE, f"{party_id}/{currency}/{receivable.receivable_minor}/{receivable.since}"
        )
        entry = adjustments.receivable_write_off(
            party, named=str(request_id), currency=currency, minor=receivable.receivable_minor, due=today
        )
        return await self._propose(
            connection,
            resolution=Resolution.RECEIVABLE_WRITE_OFF,
            request_id=request_id,
            party_id=party_id,
            currency=currency,
            minor=receivable.receivable_minor,
            entries=[entry],
            reason=reason,
            by=by,
            now=now,
        )

    async def check_bookable(
        self, connection: Connection, request: ApprovalRequest, *, now: datetime
    ) -> None:
        """Check that the balances still cover what is to be booked. Raises ClearingConflictError."""
        await payout_repository.lock_planning(connection)
        party_id = request.party_id or request.reference
        for entry in entries_from(request.entries):
            for payable in entry.payables:
                balance = await repository.open_balance(connection, party_id, payable.currency)
                enough = (
                    balance <= -payable.amount_minor
                    if payable.amount_minor > 0
                    else balance >= -payable.amount_minor
                )
                if not enough:
                    raise ClearingConflictError(
                        f"the open balance of {party_id} is {balance} {payable.currency} now: "
                        "reject the request and propose it again"
                    )
        if request.resolution is Resolution.SET_OFF:
            party = await self._party(connection, party_id)
            if not await repository.has_consent(connection, party_id, day=_local_day(party, now)):
                raise ClearingConflictError(f"{party_id} has ended its consent to set-off")

    async def _propose(
        self,
        connection: Connection,
        *,
        resolution: Resolution,
        request_id: UUID,
        party_id: str,
        currency: str,
        minor: int,
        entries: Sequence[JournalEntry],
        reason: str,
        by: str,
        now: datetime,
    ) -> ApprovalRequest:
        request = await approvals.propose(
            connection,
            Proposal(
                id=request_id,
                resolution=resolution,
                subject="receivable",
                pair="",
                reference=party_id,
                party_id=party_id,
                currency=currency,
                amount_minor=minor,
                limit_amount_minor=minor,
                entries=entries,
                reason=reason,
                by=by,
            ),
            now=now,
        )
        if request.requires_approval or request.state is not ApprovalState.PENDING:
            return request
        return await approvals.approve(connection, request.id, by=by, now=now)

    async def _party(self, connection: Connection, party_id: str) -> Party:
        party = await self._reference_data.find_party(connection, party_id)
        if party is None:
            raise InvalidPartyError(party_id, "is not registered")
        return party


def _local_day(party: Party, now: datetime) -> date:
    return now.astimezone(ZoneInfo(party.time_zone)).date()
