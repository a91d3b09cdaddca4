"""Money brought in ahead of captures: partners' funded accounts and the platform's own float at the PSP.

Owns: the order of intent, top-up, balance and booking. Must not know: HTTP, who may do it. A repeat under the
same reference tops up once and books once: the reference gives the PSP's idempotency key, one that is booked
does not reach the PSP again, and past the key's lifetime the PSP's record is looked up before it is sent.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from clearing.ledger import service as ledger_service
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ids import format_id
from gateway.payments import funding_repository
from gateway.payments.errors import (
    InvalidPaymentRequestError,
    NotFoundError,
    PaymentConflictError,
    PspUnavailableError,
)
from gateway.payments.psp.port import (
    Declined,
    Psp,
    PspOutcomeUnknown,
    PspTopUpRequest,
    ToppedUp,
    TopUpOutcome,
)
from gateway.payments.psp_requests import PspOperation
from gateway.payments.records import AccountRecord

# Keys of top-ups are derived from what they are for, so that a second request can't make a second top-up.
_NAMESPACE: Final = UUID("c1b7a0d4-52b5-5a3e-9a3f-0f6b7d8e2c11")
_TOP_UP: Final[PspOperation[PspTopUpRequest, TopUpOutcome]] = PspOperation(
    send=lambda psp, request: psp.top_up(request),
    find=lambda psp, request: psp.find_top_up(top_up_id=request.top_up_id),
)


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
        """Top up at the PSP, raise the account, book it.

        A reference that is booked changes nothing. Raises PaymentConflictError where it refers to other
        figures, InvalidPaymentRequestError, PspUnavailableError.
        """
        async with self.pool.acquire() as connection:
            known = await funding_repository.find_funding(connection, party_id=party_id, reference=reference)
        if known is not None:
            _reject_other_figures(reference, known, (currency, amount_minor))
            return await self.get_account(party_id=party_id, currency=currency)
        topup = await self._top_up(f"partner/{party_id}/{reference}", currency, amount_minor, reference)
        now = self.clock.now()
        async with transaction(self.pool) as connection:
            raised = await funding_repository.fund_account(
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
                await ledger_service.record_partner_funding(
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

    async def top_up_treasury(self, *, currency: str, amount_minor: int, reference: str) -> None:
        """Bring the platform's own money to its PSP balance and book it. Errors as `fund_partner`."""
        async with self.pool.acquire() as connection:
            booked = await ledger_service.load_posted_top_up(connection, reference=reference)
        if booked is not None:
            _reject_other_figures(reference, booked, (currency, amount_minor))
            return
        await self._top_up(f"platform/{reference}", currency, amount_minor, reference)
        async with transaction(self.pool) as connection:
            await ledger_service.record_top_up(
                connection,
                currency=currency,
                minor=amount_minor,
                reference=reference,
                now=self.clock.now(),
            )

    async def _top_up(self, subject: str, currency: str, amount_minor: int, reference: str) -> str:
        """The PSP's top-up for `subject`: the intent comes first, and its figures are the first one's."""
        if self.currencies is not None and currency not in self.currencies:
            known = ", ".join(sorted(self.currencies))
            raise InvalidPaymentRequestError(
                f"the PSP's account can't be topped up in {currency}, only in {known}"
            )
        wall = self.clock.wall_now()
        identifier = uuid5(_NAMESPACE, subject)
        async with self.pool.acquire() as connection:
            intent = await funding_repository.request_top_up(
                connection,
                subject=subject,
                id=identifier,
                currency=currency,
                amount_minor=amount_minor,
                wall_now=wall,
            )
        _reject_other_figures(
            reference, (intent.currency, intent.amount_minor), (currency, amount_minor), booked=False
        )
        if intent.psp_object is not None:
            return intent.psp_object

        async def renew_key() -> None:
            async with self.pool.acquire() as connection:
                await funding_repository.renew_top_up_key(
                    connection, subject=subject, requested_at=intent.requested_at, wall_now=wall
                )

        request = PspTopUpRequest(
            idempotency_key=f"nc_{format_id('fund', identifier)}",
            top_up_id=identifier,
            amount_minor=amount_minor,
            currency=currency,
            reference=reference,
        )
        outcome = await _TOP_UP.run(self.psp, request, age=wall - intent.requested_at, renew_key=renew_key)
        return await self._record(subject, outcome)

    async def _record(self, subject: str, outcome: TopUpOutcome) -> str:
        match outcome:
            case ToppedUp(psp_topup=topup):
                async with self.pool.acquire() as connection:
                    await funding_repository.record_top_up(connection, subject=subject, psp_object=topup)
                return topup
            case Declined(code=code):
                raise InvalidPaymentRequestError(f"the PSP rejected the top-up: {code}")
            case PspOutcomeUnknown(reason=reason):
                raise PspUnavailableError(
                    f"the PSP did not answer ({reason}); try again with the same reference"
                )


def _reject_other_figures(
    reference: str, known: tuple[str, int], wanted: tuple[str, int], *, booked: bool = True
) -> None:
    if known != wanted:
        how = "booked" if booked else "under way"
        raise PaymentConflictError(
            f"reference {reference} is {how} as {known[1]} minor units of {known[0]}, not as {wanted[1]} of "
            f"{wanted[0]}; give another payment a reference of its own"
        )
