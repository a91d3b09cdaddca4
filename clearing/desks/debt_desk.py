"""What parties owe: how old it is, set against what they are owed otherwise, given up by two people.

Owns: when each is allowed, and the rate that binds a compensation. Must not know: HTTP, who is logged in. A
debt that is paid in is a bank line, resolved as a collection. Every method takes the connection; none
commits.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Final
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from clearing.connection import Connection, named_queries, rows
from clearing.desks import decisions
from clearing.desks.decisions import Decision, Proposal
from clearing.errors import InvalidPartyError, StateConflictError
from clearing.fx import FxLock, convert, publication_day
from clearing.journal import adjustments
from clearing.journal.adjustments import entries_from
from clearing.journal.ledger import JournalEntry
from clearing.money import exponent
from clearing.parties.party import Party
from clearing.payouts.ageing import AgedDebt, DebtLine, aged, may_be_given_up
from clearing.reconciliation.deciding import DecisionState, Resolution
from clearing.service import ClearingService
from clearing.store import references

_sql = named_queries("decisions")
_NAMESPACE: Final = UUID("5d0c7a44-3d35-5a1c-9f6e-3d6f0a8b1e52")


class DebtDesk:
    """Debts of parties, and the two ways to settle them without a payment."""

    def __init__(self, clearing: ClearingService) -> None:
        """`clearing` posts what is decided."""
        self._clearing = clearing

    async def debts(
        self, connection: Connection, *, now: datetime, party_id: str | None = None
    ) -> list[AgedDebt]:
        """Every debt with its age and buckets, the oldest first; of one party, or of all."""
        lines = [DebtLine(**dict(row.items())) for row in await rows(_sql.debt_lines(connection))]
        mine = [line for line in lines if party_id in (None, line.party_id)]
        return aged(mine, today=now.date())

    async def agree_to_compensation(
        self, connection: Connection, party_id: str, *, agreed_on: date, evidence: str, by: str
    ) -> None:
        """Record that a party lets its debts be set against its claims; repeatable."""
        await self._party(connection, party_id)
        if not (evidence.strip() and by.strip()):
            raise StateConflictError("evidence, by: where is the consent kept, who recorded it?")
        await _sql.put_agreement(
            connection, party_id=party_id, agreed_on=agreed_on, evidence=evidence.strip(), by=by.strip()
        )

    async def end_compensation(self, connection: Connection, party_id: str, *, ended_on: date) -> None:
        """From that day on nothing is set off any more."""
        await _sql.end_agreement(connection, party_id=party_id, ended_on=ended_on)

    async def compensate(
        self,
        connection: Connection,
        party_id: str,
        *,
        currency: str,
        from_currency: str,
        reason: str,
        by: str,
        now: datetime,
    ) -> Decision:
        """Pay a debt in `currency` out of what is owed in `from_currency`, at the day's locked rate.

        As much as both allow. Raises StateConflictError without the party's consent, a debt or a claim;
        RateUnavailableError.
        """
        await decisions.hold(connection)
        party = await self._party(connection, party_id)
        today = now.astimezone(ZoneInfo(party.time_zone)).date()
        if await _sql.agreed_on(connection, party_id=party_id, day=today) is None:
            raise StateConflictError(f"{party_id} has not agreed that debts are set against its claims")
        await _sql.hold_planning(connection)
        debt = -await self._open(connection, party_id, currency)
        claim = await self._open(connection, party_id, from_currency)
        if debt <= 0 or claim <= 0:
            raise StateConflictError(
                f"{party_id} owes {max(0, debt)} {currency} and is owed {max(0, claim)} {from_currency}: "
                "both are needed"
            )
        table = await references.rate_table(connection)
        lock = table.lock(base=from_currency, quote=currency, day=publication_day(now))
        taken = min(claim, covering(debt, lock))
        decision_id = uuid5(
            _NAMESPACE, f"{party_id}/{from_currency}/{currency}/{claim}/{debt}/{lock.rate_date}"
        )
        entries = adjustments.compensation(
            party, named=str(decision_id), lock=lock, taken_minor=taken, due=today
        )
        given = entries[1].gross_minor
        return await self._propose(
            connection, resolution=Resolution.COMPENSATION, decision_id=decision_id, party_id=party_id,
            currency=currency, minor=given, entries=entries, reason=reason, by=by, now=now,
        )  # fmt: skip

    async def write_off(
        self, connection: Connection, party_id: str, *, currency: str, reason: str, by: str, now: datetime
    ) -> Decision:
        """Give a debt up: of a party that has left, or older than 90 days; booked by a second person.

        Raises StateConflictError.
        """
        await decisions.hold(connection)
        party = await self._party(connection, party_id)
        today = now.astimezone(ZoneInfo(party.time_zone)).date()
        found = [
            debt
            for debt in await self.debts(connection, now=now, party_id=party_id)
            if debt.currency == currency
        ]
        if not found:
            raise StateConflictError(f"{party_id} owes nothing in {currency}")
        (debt,) = found
        if not may_be_given_up(debt.age_days, deregistered=party.payout_terms.deregistered(today)):
            raise StateConflictError(
                f"{party_id} is registered and its debt is {debt.age_days} days old: "
                "collect it, or wait until it is older than 90"
            )
        decision_id = uuid5(_NAMESPACE, f"{party_id}/{currency}/{debt.debt_minor}/{debt.since}")
        made = adjustments.debt_write_off(
            party, named=str(decision_id), currency=currency, minor=debt.debt_minor, due=today
        )
        return await self._propose(
            connection, resolution=Resolution.DEBT_WRITE_OFF, decision_id=decision_id, party_id=party_id,
            currency=currency, minor=debt.debt_minor, entries=[made], reason=reason, by=by, now=now,
        )  # fmt: skip

    async def check(self, connection: Connection, known: Decision, *, now: datetime) -> None:
        """The debt and the claim are still there when it is booked. Raises StateConflictError."""
        await _sql.hold_planning(connection)
        party_id = known.party_id or known.reference
        for one in entries_from(known.entries):
            for payable in one.payables:
                stands = await self._open(connection, party_id, payable.currency)
                enough = stands <= -payable.amount_minor if payable.amount_minor > 0 else (
                    stands >= -payable.amount_minor
                )  # fmt: skip
                if not enough:
                    raise StateConflictError(
                        f"{party_id} stands at {stands} {payable.currency} by now: refuse it, and look again"
                    )
        if known.resolution is Resolution.COMPENSATION:
            party = await self._party(connection, party_id)
            today = now.astimezone(ZoneInfo(party.time_zone)).date()
            if await _sql.agreed_on(connection, party_id=party_id, day=today) is None:
                raise StateConflictError(f"{party_id} has withdrawn its consent")

    async def _propose(
        self, connection: Connection, *, resolution: Resolution, decision_id: UUID, party_id: str,
        currency: str, minor: int, entries: Sequence[JournalEntry], reason: str, by: str, now: datetime,
    ) -> Decision:  # fmt: skip
        made = await decisions.propose(
            connection,
            Proposal(
                id=decision_id, resolution=resolution, subject="debt", leg="", reference=party_id,
                party_id=party_id, currency=currency, amount_minor=minor, at_stake_minor=minor,
                entries=entries, reason=reason, by=by,
            ),
            now=now,
        )  # fmt: skip
        if made.needs_second or made.state is not DecisionState.PROPOSED:
            return made
        return await decisions.agree(connection, made.id, by=by, now=now, clearing=self._clearing)

    async def _open(self, connection: Connection, party_id: str, currency: str) -> int:
        minor: int = await _sql.open_sum(connection, party_id=party_id, currency=currency)
        return minor

    async def _party(self, connection: Connection, party_id: str) -> Party:
        party = await self._clearing.party(connection, party_id)
        if party is None:
            raise InvalidPartyError(party_id, "is not registered")
        return party


def covering(debt_minor: int, lock: FxLock) -> int:
    """The most minor units of `lock.base` that give no more than the debt; 0 where one gives more."""
    shift = exponent(lock.quote) - exponent(lock.base)
    guess = int((Decimal(debt_minor) / lock.applied_rate).scaleb(-shift).to_integral_value(ROUND_FLOOR))
    while convert(guess + 1, lock) <= debt_minor:
        guess += 1
    while guess > 0 and convert(guess, lock) > debt_minor:
        guess -= 1
    return guess
