"""Money brought in ahead of captures: partners' funded accounts and the platform's own float at the PSP.

Owns: the order of intent, top-up, balance and booking. Must not know: HTTP, who may ask. A repeat under the
same reference tops up once and books once: the reference gives the PSP's idempotency key, one that is booked
does not reach the PSP again, and past the key's lifetime the PSP's record is looked up before it is asked.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from clearing.journal import treasury
from clearing.service import ClearingService
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ids import format_id
from gateway.payments import store
from gateway.payments.orders import (
    InvalidOrderError,
    NotFoundError,
    PspUnavailableError,
    StateConflictError,
)
from gateway.payments.policy import KEY_LIFETIME
from gateway.payments.psp import Declined, OutcomeUnknown, Psp, ToppedUp, TopUpOrder, TopUpOutcome
from gateway.payments.records import AccountRecord

# Keys of top-ups are derived from what they are for, so that no second request can make a second one.
_NAMESPACE: Final = UUID("c1b7a0d4-52b5-5a3e-9a3f-0f6b7d8e2c11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """Top-ups and credit limits."""

    pool: Pool
    clock: Clock
    psp: Psp
    clearing: ClearingService

    async def fund_partner(
        self, *, funding_id: UUID, party_id: str, currency: str, amount_minor: int, reference: str
    ) -> AccountRecord:
        """Top up at the PSP, raise the account, book it.

        A reference that is booked changes nothing. Raises StateConflictError where it stands for other
        figures, InvalidOrderError, PspUnavailableError.
        """
        async with self.pool.acquire() as connection:
            known = await store.funding(connection, party_id=party_id, reference=reference)
        if known is not None:
            _refuse_other_figures(reference, known, (currency, amount_minor))
            return await self.get_account(party_id=party_id, currency=currency)
        topup = await self._top_up(f"partner/{party_id}/{reference}", currency, amount_minor, reference)
        now = self.clock.now()
        async with transaction(self.pool) as connection:
            raised = await store.fund_account(
                connection,
                id=funding_id,
                party_id=party_id,
                currency=currency,
                amount_minor=amount_minor,
                reference=reference,
                psp_object=topup,
                now=now,
            )
            if raised:
                await self.clearing.record_partner_funding(
                    connection,
                    partner_id=party_id,
                    currency=currency,
                    minor=amount_minor,
                    reference=reference,
                    now=now,
                )
        return await self.get_account(party_id=party_id, currency=currency)

    async def set_credit_limit(
        self, *, party_id: str, currency: str, credit_limit_minor: int
    ) -> AccountRecord:
        """Set how far an account may go below zero; opens the account where there is none."""
        async with self.pool.acquire() as connection:
            await store.set_credit_limit(
                connection, party_id=party_id, currency=currency, credit_limit_minor=credit_limit_minor
            )
        return await self.get_account(party_id=party_id, currency=currency)

    async def get_account(self, *, party_id: str, currency: str) -> AccountRecord:
        """One funded account. Raises NotFoundError."""
        async with self.pool.acquire() as connection:
            found = await store.account(connection, party_id=party_id, currency=currency)
        if found is None:
            raise NotFoundError(f"{party_id} has no funded account in {currency}")
        return found

    async def top_up_treasury(self, *, currency: str, amount_minor: int, reference: str) -> None:
        """Bring the platform's own money to its PSP balance and book it. Errors as `fund_partner`."""
        entry = treasury.topup(currency=currency, minor=amount_minor, reference=reference)
        async with self.pool.acquire() as connection:
            booked = await self.clearing.booked_amount(connection, entry)
        if booked is not None:
            _refuse_other_figures(reference, booked, (currency, amount_minor))
            return
        await self._top_up(f"platform/{reference}", currency, amount_minor, reference)
        async with transaction(self.pool) as connection:
            await self.clearing.record_treasury(
                connection,
                kind="topup",
                currency=currency,
                minor=amount_minor,
                reference=reference,
                now=self.clock.now(),
            )

    async def _top_up(self, subject: str, currency: str, amount_minor: int, reference: str) -> str:
        """The PSP's top-up for `subject`: the intent comes first, and its figures are the first one's."""
        wall = self.clock.wall_now()
        identifier = uuid5(_NAMESPACE, subject)
        async with self.pool.acquire() as connection:
            intent = await store.intend_top_up(
                connection,
                subject=subject,
                id=identifier,
                currency=currency,
                amount_minor=amount_minor,
                wall_now=wall,
            )
        _refuse_other_figures(
            reference, (intent.currency, intent.amount_minor), (currency, amount_minor), booked=False
        )
        if intent.psp_object is not None:
            return intent.psp_object
        outcome: TopUpOutcome | None = None
        if wall - intent.asked_at >= KEY_LIFETIME:  # the PSP has forgotten the key: it would top up again
            outcome = await self.psp.find_top_up(top_up_id=identifier)
            if outcome is None:
                async with self.pool.acquire() as connection:
                    await store.ask_top_up_again(
                        connection, subject=subject, asked_at=intent.asked_at, wall_now=wall
                    )
        if outcome is None:
            outcome = await self.psp.top_up(
                TopUpOrder(
                    idempotency_key=f"nc_{format_id('fund', identifier)}",
                    top_up_id=identifier,
                    amount_minor=amount_minor,
                    currency=currency,
                    reference=reference,
                )
            )
        return await self._concluded(subject, outcome)

    async def _concluded(self, subject: str, outcome: TopUpOutcome) -> str:
        match outcome:
            case ToppedUp(psp_topup=topup):
                async with self.pool.acquire() as connection:
                    await store.conclude_top_up(connection, subject=subject, psp_object=topup)
                return topup
            case Declined(code=code):
                raise InvalidOrderError(f"the PSP refused the top-up: {code}")
            case OutcomeUnknown(reason=reason):
                raise PspUnavailableError(
                    f"the PSP did not answer ({reason}); ask again with the same reference"
                )


def _refuse_other_figures(
    reference: str, known: tuple[str, int], wanted: tuple[str, int], *, booked: bool = True
) -> None:
    if known != wanted:
        how = "booked" if booked else "under way"
        raise StateConflictError(
            f"reference {reference} is {how} as {known[1]} minor units of {known[0]}, not as {wanted[1]} of "
            f"{wanted[0]}; give another payment a reference of its own"
        )
