"""What people decide about payouts: terms, holds, bank details, release by two, returns, moved days.

Owns: these decisions and what each changes, inside the caller's transaction. Must not know: HTTP, who is
logged in: `by` names a person for the record.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from clearing import reference
from clearing.calendar import Calendars
from clearing.connection import Connection, named_queries, rows
from clearing.errors import InvalidPartyError, StateConflictError
from clearing.iso20022.references import check_pairing, parse_reference
from clearing.parties.bank_details import (
    BankDetails,
    DetailsEvent,
    DetailsState,
    advance,
    check_second_person,
)
from clearing.parties.party import Party
from clearing.parties.schedule import PayoutHold, PayoutTerms
from clearing.payouts.disbursement import Disbursement, DisbursementEvent, DisbursementState
from clearing.payouts.disbursement import advance as advance_payment
from clearing.payouts.replan import OpenDue, moves
from clearing.service import ClearingService
from clearing.store import payout_terms
from clearing.store import payouts as store
from clearing.store.payout_terms import KeptHold
from clearing.work import payouts, stopping

_sql = named_queries("disbursement")
_NAMESPACE: Final = UUID("1d0f1c52-6b0c-5f7e-9b35-2f6f0a4f8e11")
_PAGE: Final = 10_000
BANK: Final = "bank"
_NIL: Final = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """A party that owes: `amount_minor` < 0 in one currency, with something negative due since a day."""

    party_id: str
    currency: str
    amount_minor: int
    since: date
    age_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """A payment that came back, and the hold that its party is under since."""

    payment: Disbursement
    hold_id: UUID


class PayoutDesk:
    """The decisions of people on payouts. Every method takes the connection; none commits."""

    def __init__(self, clearing: ClearingService, *, calendars: Calendars | None = None) -> None:
        """`calendars`: by default the bundled ones."""
        self._clearing = clearing
        self._calendars = calendars or reference.calendars()

    # Terms, holds, bank details

    async def put_terms(
        self, connection: Connection, party_id: str, terms: PayoutTerms, *, by: str, now: datetime
    ) -> None:
        """Agree other payout terms; they hold for sums that become payable from now on."""
        await self._party(connection, party_id)
        await payout_terms.put_terms(connection, party_id, terms, by=by, now=now)

    async def hold(
        self,
        connection: Connection,
        party_id: str,
        *,
        reason: str,
        since: date,
        until: date | None,
        by: str,
        second_person: bool = False,
    ) -> UUID:
        """Stop a party's payouts from a day on, with the reason that it is told.

        Told twice it is one hold, unless it was lifted in between. `second_person`: who placed it can't lift
        it, and nobody else's hold, nor a plain one of the same words, stands in for it.
        """
        await self._party(connection, party_id)
        await payout_terms.hold_party(connection, party_id)
        if not reason.strip() or (until is not None and until <= since):
            raise StateConflictError("a hold needs a reason, and an end after its start")
        asked_by = by if second_person else None
        hold_id, lifted = _hold_id(party_id, since, until, reason, 0, asked_by=asked_by), 0
        while (kept := await payout_terms.hold(connection, hold_id)) is not None:
            if kept.lifted_at is None:
                return hold_id
            lifted += 1
            hold_id = _hold_id(party_id, since, until, reason, lifted, asked_by=asked_by)
        await payout_terms.place_hold(
            connection,
            party_id,
            PayoutHold(reason=reason, since=since, until=until),
            hold_id=hold_id,
            by=by,
            second_person=second_person,
        )
        return hold_id

    async def lift_hold(self, connection: Connection, hold_id: UUID, *, by: str, now: datetime) -> KeptHold:
        """End a hold; the hold as it stood.

        Raises StateConflictError when it isn't open, or needs another person.
        """
        kept = await payout_terms.hold(connection, hold_id)
        if kept is None or kept.lifted_at is not None:
            raise StateConflictError(f"there is no open hold {hold_id}")
        if kept.second_person:
            check_second_person(kept.placed_by, by)
        await payout_terms.lift_hold(connection, hold_id, by=by, now=now)
        return kept

    async def withdraw_stopped(
        self, connection: Connection, *, now: datetime, party_id: str | None = None
    ) -> Sequence[Disbursement]:
        """Withdraw planned payments that may no longer be sent: a hold, other bank details, a leaving.

        Their payables are open again. Returns the payments as they are now, with the reason in `failure`.
        """
        parties = await self._clearing.parties(connection)
        return await stopping.withdraw_stopped(connection, parties=parties, now=now, party_id=party_id)

    async def submit_bank_details(
        self, connection: Connection, party_id: str, details: BankDetails, *, by: str, now: datetime
    ) -> int:
        """New bank details: kept as pending, and nothing is paid to the party until they are decided on.

        Raises InvalidPaymentError for a reference that does not go with the account.
        """
        check_pairing(details.iban, None if details.reference is None else parse_reference(details.reference))
        await self._party(connection, party_id)
        await payout_terms.hold_party(connection, party_id)
        return await payout_terms.submit_details(connection, party_id, details, by=by, now=now)

    async def decide_bank_details(
        self, connection: Connection, party_id: str, version: int, *, confirm: bool, by: str, now: datetime
    ) -> DetailsState:
        """Confirm, after asking the party over another channel, or refuse; never by who submitted them.

        Raises StateConflictError.
        """
        found = await payout_terms.pending(connection, party_id, version)
        if found is None:
            raise StateConflictError(f"{party_id} has no bank details of version {version}")
        state, submitted_by = found
        check_second_person(submitted_by, by)
        decided = advance(state, DetailsEvent.CONFIRM if confirm else DetailsEvent.REFUSE)
        await payout_terms.decide(connection, party_id, version, state=decided, by=by, now=now)
        return decided

    # Release and return

    async def approve(
        self, connection: Connection, disbursement_id: UUID, *, by: str, now: datetime
    ) -> tuple[int, int]:
        """One person's release of a large payment; how many there are and how many are needed.

        The same person again counts once. Raises StateConflictError when the payment needs no release, or
        none any more.
        """
        known = await store.get(connection, disbursement_id)
        if known is None or known.approvals_needed == 0:
            raise StateConflictError(f"disbursement {disbursement_id} needs no release")
        if known.state is not DisbursementState.PLANNED:
            raise StateConflictError(
                f"disbursement {disbursement_id} is {known.state}: nothing is to be released"
            )
        given = await store.approve(connection, disbursement_id, approver=by.strip(), now=now)
        return given, known.approvals_needed

    async def awaiting_release(self, connection: Connection, *, limit: int = 100) -> Sequence[Disbursement]:
        """Planned payments that wait for people."""
        return await store.awaiting_release(connection, limit=limit)

    async def returned(
        self, connection: Connection, disbursement_id: UUID, *, reason: str, now: datetime, by: str = BANK
    ) -> Returned | None:
        """A paid payment came back, days later: payables open again, further payouts held.

        Told by a person, the hold is lifted by another one only: a return that never was would be paid twice.
        None if it had come back before. Raises StateConflictError when it was never paid.
        """
        known = await store.get(connection, disbursement_id)
        if known is None:
            raise StateConflictError(f"there is no disbursement {disbursement_id}")
        if known.state == "returned":
            return None
        advance_payment(known.state, DisbursementEvent.RETURN)
        after = await store.mark_returned(connection, disbursement_id, failure=f"returned: {reason}", now=now)
        if after is None:
            raise StateConflictError(f"disbursement {disbursement_id} was ended by another worker")
        party = await self._party(connection, known.party_id)
        await self._clearing.post_entries(connection, [payouts.return_entry(after, party)], now=now)
        teller = "the bank" if by == BANK else by
        hold_id = await self.hold(
            connection,
            party.id,
            reason=f"payment {after.end_to_end_id} was returned by {teller}: {reason}; confirm the account",
            since=now.astimezone(ZoneInfo(party.time_zone)).date(),
            until=None,
            by=by,
            second_person=by != BANK,
        )
        return Returned(payment=after, hold_id=hold_id)

    # Debts and moved days

    async def debts(self, connection: Connection, *, now: datetime) -> list[Debt]:
        """Parties whose balance is negative, the oldest first: carried forward, collected by age."""
        return [
            Debt(**dict(row.items()), age_days=max(0, (now.date() - row["since"]).days))
            for row in await store.debts(connection)
        ]

    async def replan(self, connection: Connection, *, reason: str, now: datetime) -> int:
        """Count every open due date ahead again by the present calendars and terms, recording the reason.

        Returns how many moved. What is due today or before is left: it is paid.
        """
        parties = await self._clearing.parties(connection)
        moved = 0
        after: dict[str, Any] = {"lane": -1, "subject_id": _NIL, "kind": "", "reference": "", "party_id": ""}
        while True:
            page = await rows(_sql.open_due_dates(connection, since=now.date(), limit=_PAGE, **after))
            payables = [OpenDue(**dict(row.items())) for row in page]
            changes = [
                (payable, max(day, now.date()))
                for payable, day in moves(payables, parties=parties, calendars=self._calendars)
            ]
            changes = [(payable, day) for payable, day in changes if day != payable.due_date]
            if changes:
                await self._move(connection, changes, reason=reason, now=now)
                moved += len(changes)
            if len(page) < _PAGE:
                return moved
            after = {name: page[-1][name] for name in after}

    async def _move(
        self, connection: Connection, changes: Sequence[tuple[OpenDue, date]], *, reason: str, now: datetime
    ) -> None:
        await _sql.move_due_dates(
            connection,
            now=now,
            reason=reason,
            lanes=[payable.lane for payable, _ in changes],
            subjects=[payable.subject_id for payable, _ in changes],
            kinds=[payable.kind for payable, _ in changes],
            refs=[payable.reference for payable, _ in changes],
            parties=[payable.party_id for payable, _ in changes],
            olds=[payable.due_date for payable, _ in changes],
            news=[day for _, day in changes],
        )

    async def _party(self, connection: Connection, party_id: str) -> Party:
        party = await self._clearing.party(connection, party_id)
        if party is None:
            raise InvalidPartyError(party_id, "is not registered")
        return party


def _hold_id(
    party_id: str, since: date, until: date | None, reason: str, lifted: int, *, asked_by: str | None
) -> UUID:
    """The same facts are the same hold; after it was lifted they are the next one.

    `asked_by` belongs to the facts of a hold that its asker must not lift; no reason holds the separator.
    """
    facts = f"{party_id}/{since}/{until}/{reason}"
    if asked_by is not None:
        facts += f"\x1f{asked_by}"
    return uuid5(_NAMESPACE, facts if lifted == 0 else f"{facts}/{lifted}")
