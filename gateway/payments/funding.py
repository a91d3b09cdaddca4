"""Money brought in ahead of captures: partners' funded accounts and the platform's own float at the PSP.

Owns: the order of intent, top-up, arrival and booking. Must not know: HTTP, who may do it. A top-up is on its
way for days: it is booked when the PSP has it, never when it was asked for, and it may fail, be cancelled, or
be taken back by the bank.

A repeat under the same reference tops up once and books once: the reference gives the PSP's idempotency key,
one that is booked does not reach the PSP again, and past the key's lifetime the PSP's record is looked up
before it is sent.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from clearing.ledger import service as ledger_service
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id
from gateway.payments import funding_repository, presenters
from gateway.payments.errors import (
    InvalidPaymentRequestError,
    NotFoundError,
    PaymentConflictError,
    PspUnavailableError,
)
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.payment_port import TopUpState
from gateway.payments.psp.port import (
    Psp,
    PspTopUpRequest,
    ToppedUp,
    TopUpOutcome,
)
from gateway.payments.psp_requests import PspOperation
from gateway.payments.records import AccountRecord, TopUpRecord
from gateway.payments.top_up_state import RecordedTopUpState, states_before
from gateway.webhooks import events

# Keys of top-ups are derived from what they are for, so that a second request can't make a second top-up.
_NAMESPACE: Final = UUID("c1b7a0d4-52b5-5a3e-9a3f-0f6b7d8e2c11")
_TOP_UP: Final[PspOperation[PspTopUpRequest, TopUpOutcome]] = PspOperation(
    send=lambda psp, request: psp.top_up(request),
    find=lambda psp, request: psp.find_top_up(top_up_id=request.top_up_id),
)
_REQUESTED: Final = "requested"
_ENDED: Final = frozenset({TopUpState.FAILED, TopUpState.CANCELLED, TopUpState.REVERSED})
_CHECKED_EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingService:
    """Funds accounts: top-ups and credit limits."""

    pool: Pool
    clock: Clock
    psp: Psp
    currencies: frozenset[str] | None = None  # those that the PSP's account can be topped up in; None: all

    async def fund_partner(
        self, *, funding_id: UUID, party_id: str, currency: str, amount_minor: int, reference: str
    ) -> AccountRecord:
        """Top up at the PSP; the account is raised, and the money booked, when it has arrived there.

        A reference that is booked changes nothing. Raises PaymentConflictError where it refers to other
        figures or has failed, InvalidPaymentRequestError, PspUnavailableError.
        """
        async with self.pool.acquire() as connection:
            known = await funding_repository.find_funding(connection, party_id=party_id, reference=reference)
        if known is not None:
            _reject_other_figures(reference, known, (currency, amount_minor))
            return await self.get_account(party_id=party_id, currency=currency)
        await self._top_up(
            f"partner/{party_id}/{reference}",
            currency,
            amount_minor,
            reference,
            party_id=party_id,
            funding_id=funding_id,
        )
        async with self.pool.acquire() as connection:
            await funding_repository.open_account(connection, party_id=party_id, currency=currency)
        return await self.get_account(party_id=party_id, currency=currency)

    async def set_credit_limit(
        self, *, party_id: str, currency: str, credit_limit_minor: int
    ) -> AccountRecord:
        """Set how far an account may go below zero; opens the account where there is none."""
        async with transaction(self.pool) as connection:
            await funding_repository.set_credit_limit(
                connection, party_id=party_id, currency=currency, credit_limit_minor=credit_limit_minor
            )
        return await self.get_account(party_id=party_id, currency=currency)

    async def get_account(self, *, party_id: str, currency: str) -> AccountRecord:
        """One funded account. Raises NotFoundError."""
        async with self.pool.acquire() as connection:
            found = await funding_repository.load_account(connection, party_id=party_id, currency=currency)
        if found is None:
            raise NotFoundError(f"{party_id} has no funded account in {currency}")
        return found

    async def top_up_treasury(self, *, currency: str, amount_minor: int, reference: str) -> TopUpRecord:
        """Bring the platform's own money to its PSP balance; it is booked when it has arrived.

        Errors as `fund_partner`.
        """
        async with self.pool.acquire() as connection:
            booked = await ledger_service.load_posted_top_up(connection, reference=reference)
        if booked is not None:
            _reject_other_figures(reference, booked, (currency, amount_minor))
        return await self._top_up(f"platform/{reference}", currency, amount_minor, reference)

    async def list_top_ups(self, *, state: str | None, before: UUID | None, limit: int) -> list[TopUpRecord]:
        """A page of top-ups, the partners' and the platform's own, newest first."""
        async with self.pool.acquire() as connection:
            return list(
                await funding_repository.list_top_ups(connection, state=state, before=before, limit=limit)
            )

    async def get_top_up(self, *, top_up_id: UUID) -> TopUpRecord:
        """One top-up. Raises NotFoundError."""
        async with self.pool.acquire() as connection:
            found = await funding_repository.load_top_up(connection, top_up_id=top_up_id)
        if found is None:
            raise NotFoundError(f"no top-up {format_id('top', top_up_id)}")
        return found

    async def sync_top_up(self, *, psp_topup: str) -> str | None:
        """The PSP reports something about a top-up: read it there and book what it says.

        None: done, or it is not ours (the comparison with the PSP shows it); else what it waits for.
        """
        found = await self.psp.read_top_up(psp_topup=psp_topup)
        if isinstance(found, PspOutcomeUnknown):
            return f"the PSP's answer about a top-up: {found.reason}"
        if isinstance(found, Declined):
            return None
        async with self.pool.acquire() as connection:
            ours = await funding_repository.find_top_up(connection, psp_object=psp_topup)
            if ours is None and found.top_up_id is not None:
                ours = await funding_repository.load_top_up(connection, top_up_id=found.top_up_id)
        if ours is not None:
            await self._record(ours, found)
        return None

    async def check_waiting(self, *, batch: int) -> int:
        """Ask the PSP about top-ups that have not ended, each once an hour. Returns how many were asked."""
        wall = self.clock.wall_now()
        async with self.pool.acquire() as connection:
            waiting = await funding_repository.list_waiting_top_ups(
                connection, checked_before=wall - _CHECKED_EVERY, limit=batch
            )
        for one in waiting:
            async with self.pool.acquire() as connection:
                await funding_repository.touch_top_up(connection, subject=one.subject, wall_now=wall)
            if one.psp_object is not None:
                await self.sync_top_up(psp_topup=one.psp_object)
                continue
            outcome = await self._send(one)
            if isinstance(outcome, ToppedUp):
                await self._record(one, outcome)
            elif isinstance(outcome, Declined):
                await self._withdraw(one)
        return len(waiting)

    async def _top_up(
        self,
        subject: str,
        currency: str,
        amount_minor: int,
        reference: str,
        *,
        party_id: str | None = None,
        funding_id: UUID | None = None,
    ) -> TopUpRecord:
        """The PSP's top-up for `subject`: the intent comes first, and its figures are the first one's."""
        identifier = uuid5(_NAMESPACE, subject)
        async with transaction(self.pool) as connection:
            known = await funding_repository.load_top_up(connection, top_up_id=identifier)
            if known is None:
                self._check_currency(currency)
                known = await funding_repository.request_top_up(
                    connection,
                    subject=subject,
                    id=identifier,
                    currency=currency,
                    amount_minor=amount_minor,
                    party_id=party_id,
                    reference=reference,
                    funding_id=funding_id,
                    now=self.clock.now(),
                    wall_now=self.clock.wall_now(),
                )
        _reject_other_figures(
            reference, (known.currency, known.amount_minor), (currency, amount_minor), booked=False
        )
        if known.failure_code is not None:
            raise PaymentConflictError(
                f"the top-up {reference} is {known.state} ({known.failure_code}); give another one a "
                "reference of its own"
            )
        if known.state == _REQUESTED:
            return await self._answered(known, await self._send(known))
        return known

    def _check_currency(self, currency: str) -> None:
        if self.currencies is None or currency in self.currencies:
            return
        known = f", only in {', '.join(sorted(self.currencies))}" if self.currencies else " or any other"
        raise InvalidPaymentRequestError(f"the PSP's account can't be topped up in {currency}{known}")

    async def _send(self, top_up: TopUpRecord) -> TopUpOutcome:
        async def renew_key() -> None:
            async with transaction(self.pool) as connection:
                await funding_repository.renew_top_up_key(
                    connection,
                    subject=top_up.subject,
                    requested_at=top_up.requested_at,
                    wall_now=self.clock.wall_now(),
                )

        request = PspTopUpRequest(
            idempotency_key=f"nc_{format_id('fund', top_up.id)}",
            top_up_id=top_up.id,
            amount_minor=top_up.amount_minor,
            currency=top_up.currency,
            reference=top_up.reference,
        )
        age = self.clock.wall_now() - top_up.requested_at
        return await _TOP_UP.run(self.psp, request, age=age, renew_key=renew_key)

    async def _answered(self, top_up: TopUpRecord, outcome: TopUpOutcome) -> TopUpRecord:
        match outcome:
            case ToppedUp():
                return await self._record(top_up, outcome)
            case Declined(code=code):
                await self._withdraw(top_up)
                raise InvalidPaymentRequestError(f"the PSP rejected the top-up: {code}")
            case PspOutcomeUnknown(reason=reason):
                raise PspUnavailableError(
                    f"the PSP did not answer ({reason}); try again with the same reference"
                )

    async def _withdraw(self, top_up: TopUpRecord) -> None:
        """A refused top-up is never sent again; its reference may ask for another."""
        async with transaction(self.pool) as connection:
            await funding_repository.withdraw_top_up(connection, subject=top_up.subject)

    async def _record(self, top_up: TopUpRecord, found: ToppedUp) -> TopUpRecord:
        """What the PSP says of a top-up, with the booking and the events that follow, once each.

        One that was taken back before its arrival was seen is booked and taken back.
        """
        now, wall = self.clock.now(), self.clock.wall_now()
        states = [found.state]
        if found.state is TopUpState.REVERSED:
            states.insert(0, TopUpState.ARRIVED)
        async with transaction(self.pool) as connection:
            await funding_repository.record_top_up(
                connection, subject=top_up.subject, psp_object=found.psp_topup, wall_now=wall, now=now
            )
            for state in states:
                if state is not TopUpState.PENDING:
                    await self._move(connection, top_up, state, found)
            current = await funding_repository.load_top_up(connection, top_up_id=top_up.id)
        return current or top_up

    async def _move(
        self, connection: Connection, top_up: TopUpRecord, state: TopUpState, found: ToppedUp
    ) -> None:
        now = self.clock.now()
        moved = await funding_repository.move_top_up(
            connection,
            subject=top_up.subject,
            state=state.value,
            from_states=[one.value for one in states_before(RecordedTopUpState(state.value))],
            failure_code=(found.code or f"topup_{state.value}") if state in _ENDED else None,
            wall_now=self.clock.wall_now(),
            now=now,
        )
        if moved is None:
            return
        if state is TopUpState.ARRIVED:
            await self._book(connection, moved)
        elif state is TopUpState.REVERSED:
            moved = await self._take_back(connection, moved)
        await events.record(connection, presenters.top_up_events(moved), now=now)

    async def _book(self, connection: Connection, top_up: TopUpRecord) -> None:
        fields: dict[str, Any] = {
            "currency": top_up.currency,
            "reference": top_up.reference,
            "now": self.clock.now(),
        }
        if top_up.party_id is None:
            await ledger_service.record_top_up(connection, minor=top_up.amount_minor, **fields)
            return
        raised = await funding_repository.fund_account(
            connection,
            id=top_up.funding_id,
            party_id=top_up.party_id,
            amount_minor=top_up.amount_minor,
            psp_object=top_up.psp_object,
            **fields,
        )
        if raised:
            await ledger_service.record_partner_funding(
                connection, partner_id=top_up.party_id, minor=top_up.amount_minor, **fields
            )

    async def _take_back(self, connection: Connection, top_up: TopUpRecord) -> TopUpRecord:
        """The bank took the money back: off the books, and off the account of its party.

        What the party has spent of it becomes its credit limit, so that nothing more is held.
        """
        now = self.clock.now()
        await ledger_service.record_top_up_reversed(
            connection,
            currency=top_up.currency,
            minor=top_up.amount_minor,
            reference=top_up.reference,
            partner_id=top_up.party_id,
            now=now,
        )
        if top_up.party_id is None:
            return top_up
        overdrawn = await funding_repository.take_funding_back(
            connection, party_id=top_up.party_id, reference=top_up.reference, now=now
        )
        await funding_repository.record_overdrawn(
            connection, subject=top_up.subject, overdrawn_minor=overdrawn or 0
        )
        return replace(top_up, overdrawn_minor=overdrawn or 0)


def _reject_other_figures(
    reference: str, known: tuple[str, int], wanted: tuple[str, int], *, booked: bool = True
) -> None:
    if known != wanted:
        how = "booked" if booked else "under way"
        raise PaymentConflictError(
            f"reference {reference} is {how} as {known[1]} minor units of {known[0]}, not as {wanted[1]} of "
            f"{wanted[0]}; give another payment a reference of its own"
        )
