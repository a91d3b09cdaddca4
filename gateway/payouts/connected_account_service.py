"""Connected accounts of parties: created, attached, onboarded by link, and followed as the PSP changes them.

Owns: the record of what the PSP says, the payout hold that follows from it, and their events. Must not know:
HTTP, how the PSP is called, how anything is paid. Where the PSP can't pay an account, its party has a payout
hold of the rail `psp` with the reason before money is sent; it is lifted when the PSP says that it can.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog

from clearing.errors import ClearingConflictError
from clearing.parties import service as party_service
from clearing.parties.party import Party
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.errors import RecordNotFoundError
from gateway.ids import format_id, new_id
from gateway.partners.party_service import hold_for_new_account, load_party
from gateway.partners.principals import principal_transaction
from gateway.payments.psp.connect_port import (
    INVALID_COUNTRY,
    INVALID_EMAIL,
    UNKNOWN_ACCOUNT,
    ConnectPsp,
    OnboardingLink,
    PspAccount,
    PspAccountRequest,
    TransferCapability,
)
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp_answers import known
from gateway.payouts import connected_account_repository as repository
from gateway.payouts.account_presenter import account_updated
from gateway.payouts.account_state import ConnectedAccountRecord, unpayable_reason
from gateway.webhooks import events, payout_events
from gateway.webhooks.events import EventType

_log = structlog.get_logger(__name__)
PSP: Final = "psp"  # the rail, and who places and lifts its holds
FRESH: Final = timedelta(minutes=15)  # an answer so old is good enough to plan by; events bring news sooner
_AT_ONCE: Final = 8
_TRIES: Final = 3
_FIELDS: Final = {
    INVALID_COUNTRY: ("country", "a country in which the PSP opens accounts, as two letters"),
    INVALID_EMAIL: ("email", "an e-mail address that the PSP takes"),
    UNKNOWN_ACCOUNT: ("psp_account", "an account that is connected to the platform's own at the PSP"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedAccountService:
    """Raises UnknownPartnerRecordError where there is no such party. `key` is the API key that asks."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    psp: ConnectPsp
    at_once: int = _AT_ONCE  # requests in flight

    async def create(
        self, party_id: str, *, account_id: UUID, country: str | None, email: str | None, key: str
    ) -> ConnectedAccountRecord:
        """Create an account for a party that is paid to none; the same id again is the same account.

        `country` is by default the party's. Raises ClearingConflictError where the party has one,
        InvalidPaymentRequestError, PspUnavailableError.
        """
        async with self.pool.acquire() as connection:
            party = await load_party(self.clearing, connection, party_id)
            record = await repository.find_account(connection, party_id=party.id)
        if party.connected_account is not None:
            if record is not None and record.id == account_id:
                return record
            raise ClearingConflictError(f"{party.id} is paid to account {party.connected_account}")
        made = known(
            await self.psp.create_account(
                PspAccountRequest(
                    idempotency_key=f"nc_{format_id('cacc', account_id)}",
                    account_id=account_id,
                    party_id=party.id,
                    country=country or party.country,
                    email=email,
                )
            ),
            _FIELDS,
        )
        return await self._pay_to(party.id, made, account_id=account_id, key=key)

    async def attach(self, party_id: str, *, psp_account: str, key: str) -> ConnectedAccountRecord:
        """Pay a party to an account that exists at the PSP and is connected to the platform's own.

        Raises ClearingConflictError where another party is paid to it, InvalidPaymentRequestError where the
        PSP knows no such account, PspUnavailableError.
        """
        async with self.pool.acquire() as connection:
            party = await load_party(self.clearing, connection, party_id)
            await self._check_free(connection, psp_account, party_id=party.id)
        found = known(await self.psp.inspect_account(psp_account=psp_account), _FIELDS)
        return await self._pay_to(party.id, found, account_id=new_id(), key=key)

    async def get(self, party_id: str) -> ConnectedAccountRecord:
        """A party's account as it was last read. Raises RecordNotFoundError where there is none."""
        async with self.pool.acquire() as connection:
            party = await load_party(self.clearing, connection, party_id)
            found = await repository.find_account(connection, party_id=party.id)
        if found is None or found.version == 0 or found.psp_account != party.connected_account:
            raise RecordNotFoundError(f"{party.id} has no connected account that was read at the PSP")
        return found

    async def list(self, *, payable: bool | None, after: str, limit: int) -> Sequence[ConnectedAccountRecord]:
        """Accounts by party, those after the party `after`. `payable` None: all of them."""
        async with self.pool.acquire() as connection:
            return await repository.list_accounts(connection, payable=payable, after=after, limit=limit)

    async def create_link(
        self, party_id: str, *, link_id: UUID, return_url: str, refresh_url: str
    ) -> OnboardingLink:
        """A link to the PSP's form for a party's account. It is a bearer secret, neither stored nor logged.

        Raises RecordNotFoundError, PaymentConflictError where the PSP gives none, PspUnavailableError.
        """
        account = await self.get(party_id)
        return known(
            await self.psp.create_onboarding_link(
                psp_account=account.psp_account,
                return_url=return_url,
                refresh_url=refresh_url,
                idempotency_key=f"nc_{format_id('clnk', link_id)}",
            )
        )

    async def follow(self, *, psp_account: str) -> str | None:
        """The PSP reported something of an account: read it. None: done; else what it waits for."""
        async with self.pool.acquire() as connection:
            named = await repository.list_accounts_named(connection, psp_account=psp_account)
        for one in named:
            if not await self._read(one.party_id):
                return f"the PSP's answer about account {psp_account}"
        return None

    async def refresh(self, parties: Sequence[str], *, older_than: timedelta = FRESH) -> int:
        """Read the accounts of these parties that were not read lately; how many were read.

        Parties that are paid by bank or to no account are left alone; so is, for now, what the PSP does not
        answer.
        """
        before = self.clock.wall_now() - older_than
        async with self.pool.acquire() as connection:
            known_parties = await self.clearing.reference_data.load_parties(connection)
            records = await repository.list_accounts_of(connection, parties=parties)
        stale = [
            name
            for name in parties
            if name in known_parties and _needs_reading(known_parties[name], records.get(name), before)
        ]
        turns = asyncio.Semaphore(self.at_once)

        async def read(party_id: str) -> bool:
            async with turns:
                return await self._read(party_id)

        return sum(await asyncio.gather(*(read(name) for name in stale)))

    async def list_parties_to_read(
        self, *, active_after: timedelta, other_after: timedelta, limit: int
    ) -> Sequence[str]:
        """Parties whose account was not read for so long: one that can be paid, and one that can't."""
        wall = self.clock.wall_now()
        async with self.pool.acquire() as connection:
            return await repository.list_accounts_to_read(
                connection, active_before=wall - active_after, other_before=wall - other_after, limit=limit
            )

    async def _check_free(self, connection: Connection, psp_account: str, *, party_id: str) -> None:
        """Raises ClearingConflictError where another party is paid to this account."""
        for one in (await self.clearing.reference_data.load_parties(connection)).values():
            if one.connected_account == psp_account and one.id != party_id:
                raise ClearingConflictError(f"{one.id} is paid to account {psp_account}")

    async def _pay_to(
        self, party_id: str, account: PspAccount, *, account_id: UUID, key: str
    ) -> ConnectedAccountRecord:
        """From now on the party is paid to this account, once a second person agrees."""
        now = self.clock.now()
        async with principal_transaction(self.pool, key=key) as (connection, by):
            await repository.lock_psp_account(connection, psp_account=account.psp_account)
            await self._check_free(connection, account.psp_account, party_id=party_id)
            await repository.add_account(
                connection,
                party_id=party_id,
                account_id=account_id,
                psp_account=account.psp_account,
                now=now,
            )
            await repository.lock_account(connection, party_id=party_id)
            party = await load_party(self.clearing, connection, party_id)
            if party.connected_account != account.psp_account:
                party = replace(party, connected_account=account.psp_account)
                await self.clearing.reference_data.register_party(connection, party, now=now)
                await hold_for_new_account(self.clearing, connection, party, by=by, now=now)
            return await self._record(connection, party, account)

    async def _read(self, party_id: str) -> bool:
        """Read a party's account at the PSP and record it; False where the PSP does not answer.

        An answer counts only if nobody has recorded a later one meanwhile: then it is read again.
        """
        for _ in range(_TRIES):
            now = self.clock.now()
            async with transaction(self.pool) as connection:
                party = await load_party(self.clearing, connection, party_id)
                if party.connected_account is None:
                    return True
                before = await repository.add_account(
                    connection,
                    party_id=party_id,
                    account_id=new_id(),
                    psp_account=party.connected_account,
                    now=now,
                )
            said = await self.psp.inspect_account(psp_account=party.connected_account)
            if isinstance(said, PspOutcomeUnknown):
                _log.warning("connected_account_not_read", party=party_id, reason=said.reason)
                return False
            account = _gone(party.connected_account, said) if isinstance(said, Declined) else said
            async with transaction(self.pool) as connection:
                locked = await repository.lock_account(connection, party_id=party_id)
                party = await load_party(self.clearing, connection, party_id)
                unchanged = locked is not None and locked.version == before.version
                if unchanged and party.connected_account == account.psp_account:
                    await self._record(connection, party, account)
                    return True
        return False

    async def _record(
        self, connection: Connection, party: Party, account: PspAccount
    ) -> ConnectedAccountRecord:
        """What the PSP says, the hold that follows, and the events; the caller has locked the account."""
        now, wall = self.clock.now(), self.clock.wall_now()
        record = await repository.lock_account(connection, party_id=party.id)
        if record is None or record.version == 0 or record.as_read != account:
            record = await repository.record_account(
                connection, party_id=party.id, account=account, now=now, read_at=wall
            )
            await events.record(connection, [account_updated(record)], now=now)
        else:
            await repository.confirm_account(connection, party_id=party.id, read_at=wall)
        await self._hold(connection, party, unpayable_reason(account), now=now)
        return record

    async def _hold(self, connection: Connection, party: Party, reason: str | None, *, now: datetime) -> None:
        """Hold the party's payouts over the PSP for this reason alone; None: for none."""
        payouts = self.clearing.payouts
        lifted = await payouts.lift_rail_holds(connection, party.id, rail=PSP, keep=reason, now=now)
        ended = [payout_events.hold(EventType.PAYOUT_HOLD_LIFTED, one) for one in lifted]
        await events.record(connection, ended, now=now)
        holds = await party_service.list_payout_holds(connection, party.id)
        if reason is None or any(one.rail == PSP and one.lifted_at is None for one in holds):
            return
        hold_id = await payouts.place_hold(
            connection,
            party.id,
            reason=reason,
            since=now.astimezone(ZoneInfo(party.time_zone)).date(),
            until=None,
            by=PSP,
            rail=PSP,
        )
        cancelled = await payouts.cancel_unpayable(connection, now=now, party_id=party.id)
        await payout_events.record_hold(connection, hold_id, cancelled, now=now)


def _needs_reading(party: Party, record: ConnectedAccountRecord | None, before: datetime) -> bool:
    if party.connected_account is None or party.payout_terms.bank is not None:
        return False
    if record is None or record.psp_account != party.connected_account:
        return True
    return record.read_at is None or record.read_at <= before


def _gone(psp_account: str, said: Declined) -> PspAccount:
    return PspAccount(
        psp_account=psp_account, transfers=TransferCapability.UNKNOWN, disabled_reason=said.code
    )
