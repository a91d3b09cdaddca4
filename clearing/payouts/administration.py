"""Payout administration: terms, holds, bank details, approvals, returned disbursements, rescheduling.

Owns: these operations, inside the caller's transaction. Must not know: HTTP, who is logged in: `by` names a
person for the record.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from clearing.calendar import Calendars
from clearing.connection import Connection
from clearing.errors import ClearingConflictError, InvalidPartyError
from clearing.identifiers import format_id
from clearing.iso20022.creditor_reference import check_pairing, parse_reference
from clearing.ledger import service as ledger_service
from clearing.parties import payout_terms_repository as terms_repository
from clearing.parties.bank_details import (
    BankDetails,
    DetailsEvent,
    DetailsState,
    advance,
    check_second_person,
)
from clearing.parties.party import Party
from clearing.parties.payout_terms import PayoutHold, PayoutHoldRecord, PayoutTerms
from clearing.payouts import cancellation_service, repository, service
from clearing.payouts.disbursement import Disbursement, DisbursementEvent, DisbursementState
from clearing.payouts.disbursement import advance as advance_disbursement
from clearing.payouts.reschedule import OpenDueDate, moved_due_dates
from clearing.reference_data import bundled_data
from clearing.reference_data.service import ReferenceDataService

_NAMESPACE: Final = UUID("1d0f1c52-6b0c-5f7e-9b35-2f6f0a4f8e11")
_PAGE: Final = 10_000
BANK: Final = "bank"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedDisbursement:
    """A returned disbursement, and the hold that was placed on its party."""

    disbursement: Disbursement
    hold_id: UUID


class PayoutAdministration:
    """Administration of payouts by people. Every method takes the connection; none commits."""

    def __init__(self, reference_data: ReferenceDataService, *, calendars: Calendars | None = None) -> None:
        """`calendars`: by default the bundled ones."""
        self._reference_data = reference_data
        self._calendars = calendars or bundled_data.calendars()

    # Terms, holds, bank details

    async def put_terms(
        self, connection: Connection, party_id: str, terms: PayoutTerms, *, by: str, now: datetime
    ) -> None:
        """Set payout terms; they apply to sums that become payable from now on."""
        await self._party(connection, party_id)
        await terms_repository.put_terms(connection, party_id, terms, by=by, now=now)

    async def place_hold(
        self,
        connection: Connection,
        party_id: str,
        *,
        reason: str,
        since: date,
        until: date | None,
        by: str,
        four_eyes: bool = False,
        rail: str | None = None,
        cause: str | None = None,
    ) -> UUID:
        """Put a party's payouts on hold from a day on, with the reason that the party reads.

        The same hold again is one hold, unless it was lifted in between. `four_eyes`: the person who
        placed it can't lift it; it is distinct from a hold of another person or without that rule. `rail`:
        the rail that can't pay the party and places the hold; `lift_rail_holds` ends it. `cause`: what places
        the hold and alone lifts it.
        """
        await self._party(connection, party_id)
        await terms_repository.lock_party(connection, party_id)
        if not reason.strip() or (until is not None and until <= since):
            raise ClearingConflictError("a hold needs a reason, and an end after its start")
        placed_by = by if four_eyes else rail or cause
        hold_id, lifted = _hold_id(party_id, since, until, reason, 0, placed_by=placed_by), 0
        while (record := await terms_repository.lock_hold(connection, hold_id)) is not None:
            if record.lifted_at is None:
                return hold_id
            lifted += 1
            hold_id = _hold_id(party_id, since, until, reason, lifted, placed_by=placed_by)
        await terms_repository.place_hold(
            connection,
            party_id,
            PayoutHold(reason=reason, since=since, until=until, rail=rail, cause=cause),
            hold_id=hold_id,
            by=by,
            four_eyes=four_eyes,
        )
        return hold_id

    async def lift_hold(
        self, connection: Connection, hold_id: UUID, *, by: str, now: datetime, cause: str | None = None
    ) -> PayoutHoldRecord:
        """Lift a hold; the hold as it is now.

        Raises ClearingConflictError if it is not in force, or another person has to lift it.
        """
        record = await terms_repository.lock_hold(connection, hold_id)
        if record is None or record.lifted_at is not None:
            raise ClearingConflictError(f"no payout hold {format_id('hld', hold_id)} is in force")
        if record.rail is not None and record.rail != by:
            raise ClearingConflictError(
                f"payout hold {format_id('hld', hold_id)} ends by itself once the {record.rail} can pay the "
                "party; pay it over another rail meanwhile, or mend what the reason names"
            )
        if record.cause != cause:
            raise ClearingConflictError(
                f"payout hold {format_id('hld', hold_id)} ends by itself once its reason is mended"
            )
        if record.four_eyes:
            check_second_person(record.placed_by, by)
        await terms_repository.lift_hold(connection, hold_id, by=by, now=now)
        return replace(record, lifted_at=now, lifted_by=by)

    async def lift_rail_holds(
        self, connection: Connection, party_id: str, *, rail: str, keep: str | None, now: datetime
    ) -> Sequence[PayoutHoldRecord]:
        """Lift what `rail` holds of a party, but a hold whose reason is `keep`; the holds as they are now."""
        await terms_repository.lock_party(connection, party_id)
        return [
            await self.lift_hold(connection, one.id, by=rail, now=now)
            for one in await terms_repository.list_holds(connection, party_id)
            if one.lifted_at is None and one.rail == rail and one.reason != keep
        ]

    async def lift_caused_holds(
        self, connection: Connection, party_id: str, *, cause: str, keep: str | None, now: datetime
    ) -> Sequence[PayoutHoldRecord]:
        """Lift what `cause` holds of a party, but one whose reason is `keep`; the holds as they are now."""
        await terms_repository.lock_party(connection, party_id)
        return [
            await self.lift_hold(connection, one.id, by=cause, now=now, cause=cause)
            for one in await terms_repository.list_holds(connection, party_id)
            if one.lifted_at is None and one.cause == cause and one.reason != keep
        ]

    async def cancel_unpayable(
        self, connection: Connection, *, now: datetime, party_id: str | None = None
    ) -> Sequence[Disbursement]:
        """Cancel planned disbursements that may no longer be sent; their payables are open again.

        Returns the disbursements as they are now, with the reason in `failure`.
        """
        parties = await self._reference_data.load_parties(connection)
        return await cancellation_service.cancel_unpayable(
            connection, parties=parties, now=now, party_id=party_id
        )

    async def submit_bank_details(
        self, connection: Connection, party_id: str, details: BankDetails, *, by: str, now: datetime
    ) -> int:
        """Store new bank details as pending; nothing is paid to the party until they are decided on.

        Raises InvalidPaymentError for a reference that does not fit the account.
        """
        check_pairing(details.iban, None if details.reference is None else parse_reference(details.reference))
        await self._party(connection, party_id)
        await terms_repository.lock_party(connection, party_id)
        return await terms_repository.submit_details(connection, party_id, details, by=by, now=now)

    async def decide_bank_details(
        self, connection: Connection, party_id: str, version: int, *, approve: bool, by: str, now: datetime
    ) -> DetailsState:
        """Approve bank details, after asking the party over another channel, or reject them.

        Never by the person who submitted them. Raises ClearingConflictError.
        """
        found = await terms_repository.lock_details(connection, party_id, version)
        if found is None:
            raise ClearingConflictError(f"{party_id} has no bank details of version {version}")
        state, submitted_by = found
        check_second_person(submitted_by, by)
        decided = advance(state, DetailsEvent.APPROVE if approve else DetailsEvent.REJECT)
        await terms_repository.decide_details(connection, party_id, version, state=decided, by=by, now=now)
        return decided

    # Approval, return

    async def find_disbursement(self, connection: Connection, disbursement_id: UUID) -> Disbursement | None:
        """One disbursement."""
        return await repository.get(connection, disbursement_id)

    async def lock_disbursement(self, connection: Connection, disbursement_id: UUID) -> Disbursement | None:
        """One disbursement, locked until the transaction ends."""
        found = await repository.lock_disbursements(connection, [disbursement_id])
        return found[0] if found else None

    async def approve(
        self, connection: Connection, disbursement_id: UUID, *, by: str, now: datetime
    ) -> tuple[int, int]:
        """Approve a large disbursement for one person; how many approvals there are and how many it needs.

        The same person counts once. Raises ClearingConflictError if the disbursement needs no approval, or
        none any more.
        """
        known = await repository.get(connection, disbursement_id)
        if known is None or known.approvals_needed == 0:
            raise ClearingConflictError(f"disbursement {format_id('dis', disbursement_id)} needs no approval")
        if known.state is not DisbursementState.PLANNED:
            raise ClearingConflictError(
                f"disbursement {format_id('dis', disbursement_id)} is {known.state} and can't be approved"
            )
        given = await repository.approve(connection, disbursement_id, approver=by.strip(), now=now)
        return given, known.approvals_needed

    async def list_awaiting_approval(
        self, connection: Connection, *, limit: int = 100
    ) -> Sequence[Disbursement]:
        """Planned disbursements that lack an approval, the oldest first."""
        return await repository.list_awaiting_approval(connection, limit=limit)

    async def record_return(
        self, connection: Connection, disbursement_id: UUID, *, reason: str, now: datetime, by: str = BANK
    ) -> ReturnedDisbursement | None:
        """Record that a paid disbursement was returned: its payables reopen, its party's payouts are held.

        If a person reports it, only another person can lift the hold: a false report would pay twice. None
        if it was returned before. Raises ClearingConflictError if it was never paid.
        """
        known = await repository.get(connection, disbursement_id)
        if known is None:
            raise ClearingConflictError(f"there is no disbursement {format_id('dis', disbursement_id)}")
        if known.state is DisbursementState.RETURNED:
            return None
        advance_disbursement(known.state, DisbursementEvent.RETURN)
        after = await repository.mark_returned(
            connection, disbursement_id, failure=f"returned: {reason}", now=now
        )
        if after is None:
            raise ClearingConflictError(
                f"disbursement {format_id('dis', disbursement_id)} was changed by another worker"
            )
        party = await self._party(connection, known.party_id)
        await ledger_service.post_entries(connection, [service.return_entry(after, party)], now=now)
        reporter = "the bank" if by == BANK else by
        hold_id = await self.place_hold(
            connection,
            party.id,
            reason=f"disbursement {after.end_to_end_id} was returned, reported by {reporter}: {reason}; "
            "confirm the account",
            since=now.astimezone(ZoneInfo(party.time_zone)).date(),
            until=None,
            by=by,
            four_eyes=by != BANK,
        )
        return ReturnedDisbursement(disbursement=after, hold_id=hold_id)

    # Due dates

    async def reschedule(self, connection: Connection, *, reason: str, now: datetime) -> int:
        """Compute every open due date again by the present calendars and terms, recording the reason.

        Returns how many moved. What is due today or before is not moved: it is paid.
        """
        parties = await self._reference_data.load_parties(connection)
        moved = 0
        after: OpenDueDate | None = None
        while True:
            page = await repository.open_due_dates(connection, since=now.date(), after=after, limit=_PAGE)
            changes = [
                (payable, max(day, now.date()))
                for payable, day in moved_due_dates(page, parties=parties, calendars=self._calendars)
            ]
            changes = [(payable, day) for payable, day in changes if day != payable.due_date]
            if changes:
                await repository.move_due_dates(connection, changes, reason=reason, now=now)
                moved += len(changes)
            if len(page) < _PAGE:
                return moved
            after = page[-1]

    async def _party(self, connection: Connection, party_id: str) -> Party:
        party = await self._reference_data.find_party(connection, party_id)
        if party is None:
            raise InvalidPartyError(party_id, "is not registered")
        return party


def _hold_id(
    party_id: str, since: date, until: date | None, reason: str, lifted: int, *, placed_by: str | None
) -> UUID:
    """The same facts give the same hold; after it was lifted they give a new one.

    `placed_by` is one of the facts of a hold that the person who placed it must not lift; no reason contains
    the separator.
    """
    facts = f"{party_id}/{since}/{until}/{reason}"
    if placed_by is not None:
        facts += f"\x1f{placed_by}"
    return uuid5(_NAMESPACE, facts if lifted == 0 else f"{facts}/{lifted}")
