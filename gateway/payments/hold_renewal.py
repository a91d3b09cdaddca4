"""Watch over holds: renew one before it ends, notice one that ended at the PSP, list those to check.

Owns: how a hold is renewed. Must not know: when the checks are made (jobs/hold_monitor.py), what a session
costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import ALL_SHARDS
from gateway.payments import hold_repository, psp_request_repository, repository
from gateway.payments.psp.port import Held, Psp, Voided
from gateway.payments.psp_requests import PspRequestService
from gateway.payments.records import AuthorizationRecord, PspRequestKind, SessionRecord, StaleSession
from gateway.payments.state_machine import PaymentState


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRenewalService:
    """Keeps holds active while their sessions run."""

    pool: Pool
    psp: Psp
    clock: Clock
    psp_requests: PspRequestService

    async def list_holds_ending(
        self, *, before: datetime, batch: int, shards: Sequence[int] = ALL_SHARDS
    ) -> Sequence[tuple[int, UUID]]:
        """Holds that end before `before`: shard and authorization id, the longest unchecked first."""
        async with self.pool.acquire() as connection:
            return await hold_repository.list_holds_ending(
                connection, shards=shards, before=before, now=self.clock.now(), batch=batch
            )

    async def list_actions_waiting(
        self, *, since: datetime, batch: int, shards: Sequence[int] = ALL_SHARDS
    ) -> Sequence[tuple[int, UUID]]:
        """Authorizations that wait for the cardholder since `since`."""
        async with self.pool.acquire() as connection:
            return await hold_repository.list_actions_waiting(
                connection, shards=shards, since=since, now=self.clock.now(), batch=batch
            )

    async def list_stale_sessions(
        self,
        *,
        patience: timedelta,
        lost_within: timedelta,
        batch: int,
        shards: Sequence[int] = ALL_SHARDS,
    ) -> Sequence[StaleSession]:
        """Holds of sessions that no CDR has ended in the time of their CPO's policy, else in `patience`.

        Also those that are to be captured and would be lost within `lost_within`.
        """
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            return await hold_repository.list_stale_sessions(
                connection,
                shards=shards,
                now=now,
                patience=patience,
                lost_by=now + lost_within,
                batch=batch,
            )

    async def claim_check(self, *, shard: int, authorization_id: UUID, interval: timedelta) -> bool:
        """Claim an authorization's check; the next is due after `interval`. False: another worker has it."""
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            return await hold_repository.claim_check(
                connection, shard=shard, authorization_id=authorization_id, now=now, again_at=now + interval
            )

    async def check_hold(self, *, shard: int, authorization_id: UUID) -> None:
        """A hold about to end: ended at the PSP, it is voided here; under a mandate, it is renewed."""
        async with self.pool.acquire() as connection:
            found = await repository.find_authorization_with_session(
                connection, shard=shard, authorization_id=authorization_id
            )
        if found is None:
            return
        authorization, session = found
        if authorization.state is not PaymentState.AUTHORIZED or authorization.psp_payment is None:
            return
        state = await self.psp.inspect(psp_payment=authorization.psp_payment)
        if isinstance(state, Voided):
            async with self.pool.acquire() as connection:
                await repository.expire_authorization(connection, authorization, now=self.clock.now())
        elif isinstance(state, Held) and authorization.customer is not None:
            await self._renew(authorization, session)

    async def _renew(self, authorization: AuthorizationRecord, session: SessionRecord) -> None:
        """Hold a second time; the first hold is released once the second is active."""
        request = self.psp_requests.new(
            PspRequestKind.HOLD_RENEWAL,
            authorization,
            amount_minor=authorization.hold_minor,
            hold_features=await self.psp_requests.hold_features(),
        )
        intended = await self.psp_requests.record_intent(
            psp_request_repository.request_hold_renewal,
            request,
            authorization_id=authorization.id,
            psp_payment=authorization.psp_payment,
            hold_features=request.hold_features,
        )
        if intended:
            await self.psp_requests.send(request, authorization=authorization, session=session, first=True)
