"""Customers, setups and saved payment methods: how a driver's app obtains a payment method and keeps it.

Owns: whose customer is whose, and the order of intent, request to the PSP and record. Must not know: HTTP,
SQL, how a card is entered: the driver's app and the PSP do that. No personal data of the driver is stored.

A client secret is a bearer secret: it is read from the PSP for each answer and neither stored nor logged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id, new_id
from gateway.payments import payer_repository as repository
from gateway.payments import presenters
from gateway.payments.errors import (
    NotFoundError,
    PaymentConflictError,
)
from gateway.payments.payer_records import CustomerRecord, SavedMethodRecord, SetupRecord
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.payer_port import (
    PayerPsp,
    PspCustomerRequest,
    PspSetupRequest,
    SetupState,
    SetupStatus,
)
from gateway.payments.psp.port import INVALID_CUSTOMER
from gateway.payments.psp_answers import known, unavailable
from gateway.payments.views import SetupView
from gateway.webhooks import events
from gateway.webhooks.events import event_rows

FINAL_SETUP_STATES = frozenset({SetupState.SUCCEEDED, SetupState.CANCELLED})
_FIELDS: Final = {INVALID_CUSTOMER: ("customer", "a customer that exists at the PSP")}


@dataclass(frozen=True, slots=True, kw_only=True)
class PayerService:
    """Customers of parties, and their payment methods. `party_id` None is the platform, which sees all."""

    pool: Pool
    clock: Clock
    psp: PayerPsp

    async def create_customer(
        self, *, customer_id: UUID, party_id: str, reference: str | None, metadata: Mapping[str, str]
    ) -> CustomerRecord:
        """Create a driver of the party; the same id again is the same customer.

        Raises PspUnavailableError.
        """
        async with self.pool.acquire() as connection:
            customer = await repository.add_customer(
                connection,
                id=customer_id,
                party_id=party_id,
                reference=reference,
                metadata=dict(metadata),
                now=self.clock.now(),
            )
        if customer.psp_customer is not None:
            return customer
        outcome = await self.psp.create_customer(
            PspCustomerRequest(
                idempotency_key=f"nc_{format_id('cust', customer.id)}",
                customer_id=customer.id,
                party_id=customer.party_id,
            )
        )
        created = known(outcome)
        async with self.pool.acquire() as connection:
            return await repository.record_customer(
                connection, customer_id=customer.id, psp_customer=created.psp_customer
            )

    async def get_customer(self, *, party_id: str | None, psp_customer: str) -> CustomerRecord:
        """One customer. Raises NotFoundError, also for another party's."""
        async with self.pool.acquire() as connection:
            found = await repository.find_customer(connection, psp_customer=psp_customer)
        if found is None or party_id not in {None, found.party_id}:
            raise NotFoundError(f"no customer {psp_customer}")
        return found

    async def list_customers(
        self, *, party_id: str | None, reference: str | None, before: str | None, limit: int
    ) -> Sequence[CustomerRecord]:
        """Customers, newest first, those older than the customer `before`. Raises NotFoundError."""
        older = None
        if before is not None:
            older = (await self.get_customer(party_id=party_id, psp_customer=before)).id
        async with self.pool.acquire() as connection:
            return await repository.list_customers(
                connection, party_id=party_id, reference=reference, before=older, limit=limit
            )

    async def open_setup(
        self,
        *,
        setup_id: UUID,
        party_id: str | None,
        psp_customer: str,
        off_session: bool,
        return_url: str,
        metadata: Mapping[str, str],
    ) -> SetupView:
        """Open a setup for a customer; the same id again is the same setup, with its secret read anew.

        Raises NotFoundError, PspUnavailableError, InvalidPaymentRequestError.
        """
        customer = await self.get_customer(party_id=party_id, psp_customer=psp_customer)
        async with self.pool.acquire() as connection:
            setup = await repository.add_setup(
                connection,
                psp_customer=psp_customer,
                id=setup_id,
                party_id=customer.party_id,
                customer_id=customer.id,
                off_session=off_session,
                return_url=return_url,
                metadata=dict(metadata),
                now=self.clock.now(),
            )
        if setup.psp_setup is not None:
            return await self._read(setup)
        outcome = await self.psp.create_setup(
            PspSetupRequest(
                idempotency_key=f"nc_{format_id('setup', setup.id)}",
                setup_id=setup.id,
                party_id=setup.party_id,
                psp_customer=psp_customer,
                off_session=off_session,
            )
        )
        status = known(outcome, _FIELDS)
        async with self.pool.acquire() as connection:
            await repository.record_opened_setup(connection, setup_id=setup.id, psp_setup=status.psp_setup)
        return await self._record(replace(setup, psp_setup=status.psp_setup), status)

    async def get_setup(self, *, party_id: str | None, setup_id: UUID) -> SetupView:
        """One setup as the PSP has it now. Raises NotFoundError, PspUnavailableError."""
        return await self._read(await self._find_setup(party_id=party_id, setup_id=setup_id))

    async def cancel_setup(self, *, party_id: str | None, setup_id: UUID) -> SetupView:
        """End a setup that the driver has not finished.

        Raises NotFoundError, PspUnavailableError, PaymentConflictError where it has succeeded.
        """
        setup = await self._find_setup(party_id=party_id, setup_id=setup_id)
        if setup.state not in FINAL_SETUP_STATES and setup.psp_setup is not None:
            outcome = await self.psp.cancel_setup(
                psp_setup=setup.psp_setup, idempotency_key=f"nc_cancel_{format_id('setup', setup.id)}"
            )
            setup = (await self._record(setup, known(outcome))).setup
        if setup.state is not SetupState.CANCELLED:
            raise PaymentConflictError(f"a setup that is {setup.state} can't be cancelled")
        return SetupView(setup=setup)

    async def sync_setup(self, *, psp_setup: str) -> None:
        """The PSP reported something about a setup: read it and record its state."""
        async with self.pool.acquire() as connection:
            setup = await repository.find_setup(connection, psp_setup=psp_setup)
        if setup is not None:
            await self._read(setup)

    async def list_saved_methods(
        self, *, party_id: str | None, psp_customer: str, before: str | None, limit: int
    ) -> Sequence[SavedMethodRecord]:
        """A customer's saved payment methods, newest first. Raises NotFoundError."""
        customer = await self.get_customer(party_id=party_id, psp_customer=psp_customer)
        older = None
        if before is not None:
            older = (await self._find_method(party_id=party_id, psp_method=before)).id
        async with self.pool.acquire() as connection:
            return await repository.list_saved_methods(
                connection, customer_id=customer.id, before=older, limit=limit
            )

    async def get_saved_method(self, *, party_id: str | None, psp_method: str) -> SavedMethodRecord:
        """One saved payment method. Raises NotFoundError, also for one that was removed."""
        found = await self._find_method(party_id=party_id, psp_method=psp_method)
        if found.removed_at is not None:
            raise NotFoundError(f"no payment method {psp_method}")
        return found

    async def remove_saved_method(self, *, party_id: str | None, psp_method: str) -> None:
        """Make a saved method unusable, here first and then at the PSP; again, it changes nothing.

        Raises NotFoundError, PspUnavailableError.
        """
        method = await self._find_method(party_id=party_id, psp_method=psp_method)
        if method.detached_at is not None:
            return
        async with self.pool.acquire() as connection:
            await repository.remove_saved_method(connection, psp_method=psp_method, now=self.clock.now())
        outcome = await self.psp.detach_method(
            psp_method=psp_method, idempotency_key=f"nc_remove_{format_id('method', method.id)}"
        )
        if isinstance(outcome, PspOutcomeUnknown):
            raise unavailable(outcome)
        await self.record_detached(psp_method=psp_method)

    async def record_detached(self, *, psp_method: str) -> None:
        """The PSP says that a method can't be charged any more."""
        async with self.pool.acquire() as connection:
            await repository.record_detached_method(connection, psp_method=psp_method, now=self.clock.now())

    async def record_attached(self, *, psp_method: str) -> str | None:
        """The PSP says that a method is saved: read it, and record it if an authorization asked for it.

        None: done; else what it waits for.
        """
        found = await self.psp.inspect_method(psp_method=psp_method)
        if isinstance(found, PspOutcomeUnknown):
            return f"the PSP's answer about a payment method: {found.reason}"
        if isinstance(found, Declined) or found.psp_customer is None:
            return None
        card = found.card
        async with self.pool.acquire() as connection:
            await repository.save_attached_method(
                connection,
                psp_method=psp_method,
                psp_customer=found.psp_customer,
                method_id=new_id(),
                brand=card.brand if card else "unknown",
                last4=card.last4 if card else "",
                exp_month=card.exp_month if card else 0,
                exp_year=card.exp_year if card else 0,
                wallet=card.wallet if card else None,
                fingerprint=card.fingerprint if card else None,
                now=self.clock.now(),
            )
        return None

    async def sync_method(self, *, psp_method: str) -> str | None:
        """The PSP reports that the card of a saved method was replaced: read it, and keep what it is now.

        None: done; else what it waits for.
        """
        found = await self.psp.inspect_method(psp_method=psp_method)
        if isinstance(found, PspOutcomeUnknown):
            return f"the PSP's answer about a payment method: {found.reason}"
        if isinstance(found, Declined) or found.card is None:
            return None
        card, now = found.card, self.clock.now()
        async with transaction(self.pool) as connection:
            changed = await repository.record_updated_method(
                connection,
                psp_method=psp_method,
                brand=card.brand,
                last4=card.last4,
                exp_month=card.exp_month,
                exp_year=card.exp_year,
                wallet=card.wallet,
                fingerprint=card.fingerprint,
                now=now,
            )
            method = await repository.find_saved_method(connection, psp_method=psp_method)
            if changed and method is not None:
                await events.record(connection, presenters.saved_method_events(method), now=now)
        return None

    async def record_revoked_mandate(self, *, mandate: str) -> None:
        """The PSP says that the consent to charges while the driver is away has ended."""
        async with self.pool.acquire() as connection:
            await repository.record_revoked_mandate(connection, mandate=mandate)

    async def check_payer(self, *, party_id: str, psp_customer: str | None, psp_method: str) -> None:
        """Raise NotFoundError where the customer or the payment method is known as another party's."""
        async with self.pool.acquire() as connection:
            await check_payer(connection, party_id=party_id, psp_customer=psp_customer, psp_method=psp_method)

    async def _find_setup(self, *, party_id: str | None, setup_id: UUID) -> SetupRecord:
        async with self.pool.acquire() as connection:
            found = await repository.find_setup(connection, setup_id=setup_id)
        if found is None or party_id not in {None, found.party_id}:
            raise NotFoundError(f"no setup {format_id('setup', setup_id)}")
        return found

    async def _find_method(self, *, party_id: str | None, psp_method: str) -> SavedMethodRecord:
        async with self.pool.acquire() as connection:
            found = await repository.find_saved_method(connection, psp_method=psp_method)
        if found is None or party_id not in {None, found.party_id}:
            raise NotFoundError(f"no payment method {psp_method}")
        return found

    async def _read(self, setup: SetupRecord) -> SetupView:
        if setup.state in FINAL_SETUP_STATES or setup.psp_setup is None:
            return SetupView(setup=setup)
        return await self._record(setup, known(await self.psp.inspect_setup(psp_setup=setup.psp_setup)))

    async def _record(self, setup: SetupRecord, status: SetupStatus) -> SetupView:
        """Record what has changed; the view carries the secrets, the record does not."""
        if setup.state in FINAL_SETUP_STATES:
            return SetupView(setup=setup)
        succeeded = status.state is SetupState.SUCCEEDED
        after = replace(
            setup,
            state=status.state,
            psp_method=status.psp_method if succeeded else None,
            mandate=status.mandate,
            last_attempt=status.attempt,
            error=None if succeeded else status.error,
        )
        if after != setup:
            after = await self._write(setup, replace(after, version=setup.version + 1), status)
        if after.state in FINAL_SETUP_STATES:
            return SetupView(setup=after)
        return SetupView(setup=after, client_secret=status.client_secret, redirect_url=status.redirect_url)

    async def _write(self, before: SetupRecord, after: SetupRecord, status: SetupStatus) -> SetupRecord:
        now = self.clock.now()
        after = replace(after, updated_at=now)
        card = status.card
        async with self.pool.acquire() as connection:
            done = await repository.record_setup(
                connection,
                id=after.id,
                version=before.version,
                state=after.state.value,
                psp_method=after.psp_method,
                mandate=after.mandate,
                last_attempt=after.last_attempt,
                error=after.error,
                method_id=new_id(),
                brand=card.brand if card else "unknown",
                last4=card.last4 if card else "",
                exp_month=card.exp_month if card else 0,
                exp_year=card.exp_year if card else 0,
                wallet=card.wallet if card else None,
                fingerprint=card.fingerprint if card else None,
                events=event_rows(presenters.setup_events(before, after)),
                now=now,
            )
            if done:
                return after
            found = await repository.find_setup(connection, setup_id=after.id)
        return found or after


async def check_payer(
    connection: Connection, *, party_id: str, psp_customer: str | None, psp_method: str
) -> None:
    """Raise NotFoundError where the customer or the payment method is known as another party's."""
    foreign = await repository.knows_other_payer(
        connection, party_id=party_id, psp_customer=psp_customer, psp_method=psp_method
    )
    if foreign:
        raise unknown_payer(psp_customer=psp_customer, psp_method=psp_method)


def unknown_payer(*, psp_customer: str | None, psp_method: str) -> NotFoundError:
    """The answer to another party's payer, and to one that was removed: the same as to one that never was."""
    of = f" of customer {psp_customer}" if psp_customer else ""
    return NotFoundError(f"no payment method {psp_method}{of}; obtain one with a setup of your own customer")
