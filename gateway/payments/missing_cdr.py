"""Sessions whose CDR never came: released, or captured at the last known cost where the CPO's policy says so.

Owns: the two ways, the flag. Must not know: OCPI, how an update becomes figures, when a session is stale.

What is captured this way is the last update of the session priced by the frozen tariff, within the hold: no
CPO has confirmed it. A CDR that comes later replaces it: the excess is refunded, a shortfall is receivable.
"""

from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import UUID

import structlog

from gateway.database import Connection, Pool
from gateway.ids import format_id
from gateway.payments import hold_repository, repository
from gateway.payments.capture import CaptureService
from gateway.payments.complete import CompletionService
from gateway.payments.errors import CdrRejectedError
from gateway.payments.records import MissingCdrAction, MissingCdrPolicy, SessionRecord, last_known_cdr_id
from gateway.payments.state_machine import PaymentState
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.payments.views import SessionView

_log = structlog.get_logger(__name__)
LAST_KNOWN_COST: Final = "last_known_cost"  # the flag of a session that was captured so


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownUsage:
    """The last update of a session, as the CDR that it would be: bytes and OCPI version."""

    cdr_raw: bytes
    cdr_version: str


class SessionUpdateSource(Protocol):
    """Where the last update of a running session comes from (the OCPI package)."""

    async def find_last_update(
        self, connection: Connection, session: SessionRecord, *, authorization_id: UUID, cdr_id: str
    ) -> KnownUsage | None:
        """The session as if it had ended at its last update, under the id `cdr_id`; None: there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCdrService:
    """Ends sessions that nobody completed. `updates` None: no update is ever known."""

    pool: Pool
    completions: CompletionService
    captures: CaptureService
    snapshots: TariffSnapshotCache
    updates: SessionUpdateSource | None

    async def end(self, *, shard: int, authorization_id: UUID, action: MissingCdrAction) -> None:
        """End a stale session. Errors as `CaptureService.release`."""
        if action is MissingCdrAction.LAST_KNOWN_COST and await self._capture(shard, authorization_id):
            return
        await self.captures.release(authorization_id=authorization_id, expected_version=None)

    async def get_policy(self, *, party_id: str) -> MissingCdrPolicy | None:
        """A party's own policy."""
        async with self.pool.acquire() as connection:
            return await hold_repository.load_policy(connection, party_id=party_id)

    async def set_policy(self, policy: MissingCdrPolicy, *, party_id: str) -> None:
        """Set a CPO's policy, or with the platform's id that of every CPO without one."""
        async with self.pool.acquire() as connection:
            await hold_repository.set_policy(connection, policy, party_id=party_id)

    async def _capture(self, shard: int, authorization_id: UUID) -> bool:
        """Complete with what is known and capture it. False: nothing usable is known."""
        if self.updates is None:
            return False
        async with self.pool.acquire() as connection:
            found = await repository.find_authorization_with_session(
                connection, shard=shard, authorization_id=authorization_id
            )
            if found is None or found[0].state is not PaymentState.AUTHORIZED:
                return False
            session = found[1]
            known = await self.updates.find_last_update(
                connection,
                session,
                authorization_id=authorization_id,
                cdr_id=last_known_cdr_id(session.id),
            )
        if known is None:
            return False
        try:
            fixed = await self.completions.price_cdr(
                session, cdr_raw=known.cdr_raw, cdr_version=known.cdr_version
            )
            await self.completions.check_possible(
                session, cdr_raw=known.cdr_raw, cdr_version=known.cdr_version
            )
            await self.completions.end(
                SessionView(
                    session=session,
                    tariff=await self.snapshots.reference(session.tariff_sha256),
                    authorization=found[0],
                    capture=None,
                ),
                replace(fixed, flags=[*fixed.flags, LAST_KNOWN_COST]),
            )
        except CdrRejectedError as error:
            _log.warning("last_update_unusable", session=format_id("ses", session.id), reason=str(error))
            return False
        await self.captures.capture(shard=shard, session_id=session.id)
        return True
