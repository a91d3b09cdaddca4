"""Sessions whose CDR never came: released, or captured at the last known cost where the CPO's policy says so.

Owns: the two ways, the policy rows, the flag. Must not know: OCPI, how an update is turned into figures, when
a session counts as forgotten.

What is captured this way is the last update of the session priced by the frozen tariff, within the hold: no
CPO has confirmed it. A CDR that comes later takes its place: what is too much is refunded, the rest is owed.
"""

from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import structlog

from gateway.database import Connection, Pool, named_queries
from gateway.ids import format_id
from gateway.payments import store
from gateway.payments.capture import Captures
from gateway.payments.complete import Completions
from gateway.payments.holds import MissingCdrAction
from gateway.payments.orders import CdrRefusedError
from gateway.payments.payment import PaymentState
from gateway.payments.records import SessionRecord, last_known_cdr_id

_sql = named_queries("gateway", "holds.sql")
_log = structlog.get_logger(__name__)
LAST_KNOWN_COST: Final = "last_known_cost"  # the flag of a session that was captured so


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCdrPolicy:
    """What becomes of sessions without a CDR, `after_days` (1 to 365) from their authorization."""

    action: MissingCdrAction
    after_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownUsage:
    """The last that is known of a session, as the CDR that it would be: bytes and OCPI version."""

    cdr_raw: bytes
    cdr_version: str


class LastUpdates(Protocol):
    """Where the last update of a running session comes from (the OCPI room)."""

    async def last_known(
        self, connection: Connection, session: SessionRecord, *, authorization_id: UUID, cdr_id: str
    ) -> KnownUsage | None:
        """The session as if it had ended at its last update, under the id `cdr_id`; None: there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCdrs:
    """The service for sessions that nobody completed. `updates` None: nothing is ever known."""

    pool: Pool
    completions: Completions
    captures: Captures
    updates: LastUpdates | None

    async def end(self, *, lane: int, authorization_id: UUID, action: MissingCdrAction) -> None:
        """End a forgotten session. Errors as `Captures.release`."""
        if action is MissingCdrAction.LAST_KNOWN_COST and await self._capture(lane, authorization_id):
            return
        await self.captures.release(authorization_id=authorization_id, expected_version=None)

    async def policy(self, *, party_id: str) -> MissingCdrPolicy | None:
        """A party's own policy."""
        async with self.pool.acquire() as connection:
            row = await _sql.missing_cdr_policy(connection, party_id=party_id)
        if row is None:
            return None
        return MissingCdrPolicy(action=MissingCdrAction(row["action"]), after_days=row["after_days"])

    async def set_policy(self, policy: MissingCdrPolicy, *, party_id: str) -> None:
        """Set a CPO's policy, or with the platform's id that of every CPO without one."""
        async with self.pool.acquire() as connection:
            await _sql.set_missing_cdr_policy(
                connection, party_id=party_id, action=policy.action.value, after_days=policy.after_days
            )

    async def _capture(self, lane: int, authorization_id: UUID) -> bool:
        """Complete with what is known and capture it. False: nothing usable is known."""
        if self.updates is None:
            return False
        async with self.pool.acquire() as connection:
            standing = await store.authorization(connection, lane=lane, authorization_id=authorization_id)
            if standing is None or standing.state is not PaymentState.AUTHORIZED:
                return False
            session = await store.session(connection, lane=lane, session_id=standing.session_id)
            if session is None:
                return False
            known = await self.updates.last_known(
                connection,
                session,
                authorization_id=authorization_id,
                cdr_id=last_known_cdr_id(session.id),
            )
        if known is None:
            return False
        try:
            await self.completions.complete(
                session,
                cdr_raw=known.cdr_raw,
                cdr_version=known.cdr_version,
                flags=(LAST_KNOWN_COST,),
            )
        except CdrRefusedError as error:
            _log.warning("last_update_unusable", session=format_id("ses", session.id), reason=str(error))
            return False
        await self.captures.capture(lane=lane, session_id=session.id)
        return True
