"""The service of clearing: batches in, journal out.

Parties, agreements, payouts and questions about the books.

Owns: the order of steps inside one transaction, which the caller opens. Must not know: HTTP, the PSP, who
calls. Every method takes the connection; none commits, and none talks to the outside.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID, uuid5

from clearing import reference
from clearing.connection import Connection
from clearing.errors import InvalidAmountError, StateConflictError
from clearing.fx import ReferenceRate
from clearing.journal import treasury
from clearing.journal.ledger import EntryKind, JournalEntry
from clearing.parties.agreement import Agreement
from clearing.parties.party import Party
from clearing.payouts.disbursement import Disbursement, RailOutcome
from clearing.payouts.forecast import CalendarDay
from clearing.ports import Repricer
from clearing.results import AuditReport, Balance, ClearingBatch, Correction, Summary
from clearing.session import CapturedSession
from clearing.sessions.reprice import TariffRepricer
from clearing.store import books, captures, journal, references
from clearing.store import payouts as payout_store
from clearing.work import audit as proof
from clearing.work import closing, corrections, payouts
from clearing.work.batch import Books
from clearing.work.clearing import Shelf, clear
from clearing.work.payouts import Answers
from clearing.work.registering import normalized


class ClearingService:
    """What the gateway calls.

    Stateless but for bounded caches; one instance serves all workers of a process.
    """

    def __init__(self, *, repricer: Repricer | None = None) -> None:
        """`repricer` is a test's seam; by default sessions are priced from their stored tariff and CDR."""
        self._shelf = Shelf(repricer=repricer or TariffRepricer())

    # Reference data

    async def load_reference_data(self, connection: Connection, *, now: datetime) -> int:
        """Load the bundled ECB reference rates into `fx_rate`; repeatable. Returns how many rows were new."""
        return await references.add_rates(connection, reference.ecb_reference_rates(), now=now)

    async def import_rates(
        self, connection: Connection, rates: Sequence[ReferenceRate], *, now: datetime
    ) -> int:
        """Add published rates; one that is known is a fact and stays. Returns how many were new."""
        return await references.add_rates(connection, rates, now=now)

    async def register_party(self, connection: Connection, party: Party, *, now: datetime) -> None:
        """Add a party or renew its data, its VAT ids in their one written form.

        Raises InvalidPartyError when its id is known as another kind or a VAT id has a wrong check digit.
        """
        await references.put_party(connection, normalized(party, reference.vat_rates()), now=now)

    async def party(self, connection: Connection, party_id: str) -> Party | None:
        """A registered party with its VAT evidence."""
        return (await self.parties(connection)).get(party_id)

    async def parties(self, connection: Connection) -> Mapping[str, Party]:
        """Every registered party by id."""
        return (await self._books(connection)).parties

    async def put_agreement(self, connection: Connection, agreement: Agreement, *, now: datetime) -> None:
        """Store a version, once; other terms under its number are a StateConflictError."""
        await references.put_agreement(connection, agreement, now=now)

    # The lane

    async def clear_batch(
        self,
        connection: Connection,
        sessions: Sequence[CapturedSession],
        *,
        now: datetime,
        batch_id: UUID,
        chain: int = 0,
    ) -> ClearingBatch:
        """Clear captured sessions in the caller's transaction.

        Each is priced again from its stored originals and proved; poison is parked with its reason and the
        batch goes on; a session that is in the journal already posts nothing. Writers side by side use a
        `chain` each.
        Raises ClosedPeriodError when `now` lies in a closed period.
        """
        return await clear(connection, sessions, shelf=self._shelf, now=now, batch_id=batch_id, chain=chain)

    # Corrections

    async def refund_session(
        self, connection: Connection, session_id: UUID, *, minor: int, reference: str, now: datetime
    ) -> Correction:
        """Unwind `minor` of a capture at its stored rulings and locks; the same reference is a no-op.

        Payables turn negative and are netted against later sales, also after a payout. Raises
        StateConflictError when the session isn't cleared or less is left, InvalidAmountError,
        ClosedPeriodError.
        """
        order = corrections.Order(
            kind=EntryKind.REFUND, session_id=session_id, reference=reference, minor=minor
        )
        return await self._correct(connection, order, now=now)

    async def reverse_session(
        self, connection: Connection, session_id: UUID, *, reference: str, now: datetime
    ) -> Correction:
        """Undo all that is left of a capture, for a credit CDR (its id is the reference).

        Errors as `refund_session`.
        """
        order = corrections.Order(kind=EntryKind.REVERSAL, session_id=session_id, reference=reference)
        return await self._correct(connection, order, now=now)

    async def open_dispute(
        self,
        connection: Connection,
        session_id: UUID,
        *,
        minor: int,
        fee_minor: int,
        reference: str,
        now: datetime,
    ) -> Correction:
        """Book money that the PSP took back for a dispute: claimed from its bearers at once.

        The driver's VAT stays due.
        """
        order = corrections.Order(
            kind=EntryKind.DISPUTE,
            session_id=session_id,
            reference=reference,
            minor=minor,
            fee_minor=fee_minor,
        )
        return await self._correct(connection, order, now=now)

    async def correct_dispute_fee(
        self, connection: Connection, session_id: UUID, *, fee_minor: int, reference: str, now: datetime
    ) -> bool:
        """Make the PSP's fee of the dispute of that reference `fee_minor` in the books; False if it is.

        Raises StateConflictError while the dispute is not posted, ClosedPeriodError.
        """
        named = f"{reference}/{fee_minor}/{now.isoformat()}"
        seal = journal.new_seal(corrections.batch_id_of(session_id, EntryKind.DISPUTE, named), 0, now)
        return await corrections.correct_fee(
            connection, session_id, reference, fee_minor=fee_minor, seal=seal
        )

    async def win_dispute(
        self, connection: Connection, session_id: UUID, *, reference: str, now: datetime
    ) -> Correction:
        """Give every party back what the dispute of that reference took."""
        return await self._undo(connection, session_id, EntryKind.DISPUTE_WON, reference, now=now)

    async def fail_refund(
        self, connection: Connection, session_id: UUID, *, reference: str, now: datetime
    ) -> Correction:
        """Take back the refund of that reference, which never arrived. StateConflictError: there is none."""
        return await self._undo(connection, session_id, EntryKind.REFUND_FAILED, reference, now=now)

    async def _undo(
        self, connection: Connection, session_id: UUID, kind: EntryKind, reference: str, *, now: datetime
    ) -> Correction:
        seal = journal.new_seal(corrections.batch_id_of(session_id, kind, reference), 0, now)
        known = (await self._books(connection)).parties
        return await corrections.undo(connection, session_id, reference, kind=kind, parties=known, seal=seal)

    async def _correct(
        self, connection: Connection, order: corrections.Order, *, now: datetime
    ) -> Correction:
        parties = (await self._books(connection)).parties
        seal = journal.new_seal(
            corrections.batch_id_of(order.session_id, order.kind, order.reference), 0, now
        )
        return await corrections.correct(connection, order, parties=parties, seal=seal)

    # Treasury

    async def record_treasury(
        self, connection: Connection, *, kind: str, currency: str, minor: int, reference: str, now: datetime
    ) -> bool:
        """Book a top-up of the platform's balance at the PSP (`kind` "topup").

        False if `reference` is booked already. Raises InvalidAmountError.
        """
        if kind != EntryKind.TOPUP:
            raise InvalidAmountError(f"{kind!r} is not a treasury movement; expected 'topup'")
        entry = treasury.topup(currency=currency, minor=minor, reference=reference)
        return await self._post_one(connection, entry, now=now)

    async def record_partner_funding(
        self,
        connection: Connection,
        *,
        partner_id: str,
        currency: str,
        minor: int,
        reference: str,
        now: datetime,
    ) -> bool:
        """Book money that a partner put on its funded account; False if `reference` is booked already."""
        entry = treasury.partner_funding(
            partner_id=partner_id, currency=currency, minor=minor, reference=reference
        )
        return await self._post_one(connection, entry, now=now)

    async def record_fx_execution(
        self,
        connection: Connection,
        *,
        base: str,
        quote: str,
        sold_minor: int,
        bought_minor: int,
        reference: str,
        now: datetime,
    ) -> bool:
        """Close a part of a position at the rate executed; the difference to the locks is gain or loss.

        False if `reference` is booked already. Raises StateConflictError for more than the position holds.
        """
        await books.hold_position(connection, base, quote)
        taken, given = await books.position(connection, base, quote)
        entry = treasury.execution(
            base=base,
            quote=quote,
            sold_minor=sold_minor,
            bought_minor=bought_minor,
            taken_minor=taken,
            given_minor=given,
            reference=reference,
        )
        return await self._post_one(connection, entry, now=now)

    async def booked_amount(self, connection: Connection, entry: JournalEntry) -> tuple[str, int] | None:
        """Currency and minor units of the entry of that subject, kind and reference; None: there is none."""
        return await captures.gross_of(connection, entry)

    async def _post_one(self, connection: Connection, entry: JournalEntry, *, now: datetime) -> bool:
        return await self.post_entries(connection, [entry], now=now)

    async def post_entries(
        self, connection: Connection, entries: Sequence[JournalEntry], *, now: datetime
    ) -> bool:
        """Book entries in one batch; False if all of them are booked already. Raises ClosedPeriodError."""
        await journal.hold_open(connection, now=now)
        # Named by all of them: the same entry, booked before beside others, was another batch.
        keys = sorted(journal.key_of(entry) for entry in entries)
        names = [f"{kind}/{reference}" for _, kind, reference in keys[:1]]
        names += [f"{subject}/{kind}/{reference}" for subject, kind, reference in keys[1:]]
        batch_id = uuid5(keys[0][0], " ".join(names))
        posted = await journal.post(connection, entries, seal=journal.new_seal(batch_id, 0, now))
        return posted.hash is not None

    # Paying out

    async def parties_due(self, connection: Connection, *, now: datetime) -> Sequence[str]:
        """Parties with something due on their local day: what `plan_disbursements` is to be asked for."""
        return await payout_store.parties_due(connection, now=now)

    async def plan_disbursements(
        self, connection: Connection, *, now: datetime, only: Sequence[str] | None = None
    ) -> Sequence[Disbursement]:
        """Net what is due per party and currency on the party's local day and plan one payment each.

        `only` names the parties, so that a long run may end its transaction after every few hundred.
        """
        parties = (await self._books(connection)).parties
        names = await self.parties_due(connection, now=now) if only is None else only
        post = partial(self.post_entries, connection, now=now)
        return await payouts.plan(connection, names, parties=parties, post=post, now=now)

    async def disbursements_to_execute(
        self, connection: Connection, *, now: datetime, limit: int = 100
    ) -> Sequence[Disbursement]:
        """Planned payments, and requested ones whose answer is missing and whose next question is due."""
        return await payout_store.to_execute(connection, now=now, limit=limit)

    async def begin_disbursement(
        self, connection: Connection, disbursement_id: UUID, *, now: datetime
    ) -> Disbursement | None:
        """The intent, committed before the rail is called; None if it is another worker's turn or it is over.

        None as well where a hold, other bank details or a leaving came since it was planned: it is withdrawn
        by the next planning.

        With `attempts` above 1 an earlier call may have taken effect: the rail is asked under the same
        end_to_end_id.
        """
        parties = await self.parties(connection)
        return await payouts.begin(connection, disbursement_id, parties=parties, now=now)

    async def begin_due(self, connection: Connection, *, now: datetime, limit: int) -> Sequence[Disbursement]:
        """The intents of up to `limit` payments over the PSP whose turn it is; as `begin_disbursement`."""
        parties = await self.parties(connection)
        return await payouts.begin_due(connection, parties=parties, now=now, limit=limit)

    async def record_outcome(
        self, connection: Connection, disbursement_id: UUID, outcome: RailOutcome, *, now: datetime
    ) -> Disbursement:
        """The rail's answer: paid is journaled, rejected opens the payables again, unknown is asked later.

        Raises StateConflictError when the payment does not wait for an answer.
        """
        answers = await self.record_outcomes(connection, {disbursement_id: outcome}, now=now)
        for conflict in answers.conflicts.values():
            raise StateConflictError(conflict)
        (disbursement,) = [*answers.ended, *answers.repeated]
        return disbursement

    async def record_outcomes(
        self, connection: Connection, outcomes: Mapping[UUID, RailOutcome], *, now: datetime
    ) -> Answers:
        """Many answers of the rail, what was paid in one batch of the journal.

        A payment that does not wait for its answer is told of in `conflicts`; the others are recorded.
        """
        parties = (await self._books(connection)).parties
        post = partial(self.post_entries, connection, now=now)
        return await payouts.answer(connection, outcomes, parties=parties, post=post, now=now)

    async def disbursements_of(
        self, connection: Connection, party_id: str, *, limit: int = 100
    ) -> Sequence[Disbursement]:
        """A party's payments, the latest first."""
        return await payout_store.of_party(connection, party_id, limit=limit)

    async def forecast(
        self, connection: Connection, *, now: datetime, days: int = 14, party_id: str | None = None
    ) -> Sequence[CalendarDay]:
        """The disbursement calendar: unpaid amounts by party and due date, from overdue to `days` ahead."""
        parties = (await self._books(connection)).parties
        return await payouts.forecast(connection, parties=parties, now=now, days=days, party_id=party_id)

    # Closing and statements

    async def close_period(self, connection: Connection, *, until: datetime, by: str, now: datetime) -> None:
        """Shut the books up to `until` and keep every balance of that instant.

        Nothing is booked before it again.

        Waits for batches under way. Closing the same instant again is a no-op; StateConflictError for one
        before the last closing or still to come.
        """
        await closing.close(connection, until=until, by=by, now=now)

    def statement(
        self, connection: Connection, *, account: str, currency: str, since: datetime, until: datetime
    ) -> AsyncIterator[str]:
        """An account's statement, line by line, in constant memory; `clearing.journal.statement` verifies it.

        Needs one snapshot (repeatable read) to be complete while others write.
        """
        return closing.statement_lines(
            connection, account=account, currency=currency, since=since, until=until
        )

    # Questions

    async def balances(
        self, connection: Connection, *, at: datetime | None = None, prefix: str = ""
    ) -> Sequence[Balance]:
        """Every account's balance at an instant (by default all that is booked), or of those below a path."""
        return await books.balances(connection, at=at, prefix=prefix)

    async def summary(self, connection: Connection) -> Summary:
        """The books in a few figures."""
        return await books.summary(connection)

    async def audit(self, connection: Connection, *, now: datetime) -> AuditReport:
        """Recompute the proof from the stored rows; on one snapshot if the transaction is repeatable read."""
        return await proof.audit(connection, now=now)

    async def _books(self, connection: Connection) -> Books:
        return (await self._shelf.worker(connection)).books
