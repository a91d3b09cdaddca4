"""Sessions whose CDR never came: released, or captured at the last known cost where the CPO's policy says so.

Owns: the ways, the flags. Must not know: OCPI, how an update becomes figures, when a session is stale.

What is captured this way is the last update of the session, or else what its payer stated, priced by the
frozen tariff, within the hold: no CPO has confirmed it. A CDR that comes later replaces it: the excess is
refunded, a shortfall is receivable.
"""

from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog

from clearing.pricing import json_document as document
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id
from gateway.payments import hold_repository, repository, usage_repository
from gateway.payments.capture import CaptureService
from gateway.payments.complete import CompletionService
from gateway.payments.errors import CdrRejectedError
from gateway.payments.records import (
    AuthorizationRecord,
    MissingCdrAction,
    MissingCdrPolicy,
    SessionRecord,
    UsageSource,
    last_known_cdr_id,
)
from gateway.payments.state_machine import PaymentState
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.payments.views import SessionView

_log = structlog.get_logger(__name__)
_encoder: Final = msgspec.json.Encoder(decimal_format="number")
LAST_KNOWN_COST: Final = "last_known_cost"  # the flag of a session that was captured by its last update
PROVISIONAL_USAGE: Final = "provisional_usage"  # the flag of one that was captured as its payer stated


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownUsage:
    """What is known of a session without a CDR, as the CDR that it would be: bytes and OCPI version."""

    cdr_raw: bytes
    cdr_version: str
    source: UsageSource = UsageSource.OPERATOR_SESSION

    @property
    def flag(self) -> str:
        """The flag of a session that is captured by it."""
        return PROVISIONAL_USAGE if self.source is UsageSource.PAYER else LAST_KNOWN_COST


class SessionUpdateSource(Protocol):
    """What a CPO reports of its sessions (the OCPI package)."""

    async def sends_cdrs(self, connection: Connection, *, cpo_id: str) -> bool:
        """Whether the CPO is connected, so that its CDR of a session will come."""
        ...

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
        """End a stale session: by its last update where the action says so, as its payer stated, or released.

        What the payer stated is captured whatever the action: it is the payer's own word. Errors as
        `CaptureService.release`.
        """
        if await self._capture(shard, authorization_id, action):
            return
        await self.captures.release(authorization_id=authorization_id, expected_version=None)

    async def get_policy(self, *, party_id: str) -> MissingCdrPolicy | None:
        """A party's own policy."""
        async with self.pool.acquire() as connection:
            return await hold_repository.load_policy(connection, party_id=party_id)

    async def set_policy(self, policy: MissingCdrPolicy, *, party_id: str) -> None:
        """Set a CPO's policy, or with the platform's id that of every CPO without one."""
        async with transaction(self.pool) as connection:
            await hold_repository.set_policy(connection, policy, party_id=party_id)

    async def _capture(self, shard: int, authorization_id: UUID, action: MissingCdrAction) -> bool:
        """Complete with what is known and capture it. False: nothing usable is known."""
        async with self.pool.acquire() as connection:
            found = await repository.find_authorization_with_session(
                connection, shard=shard, authorization_id=authorization_id
            )
            if found is None or found[0].state is not PaymentState.AUTHORIZED:
                return False
            session = found[1]
            usages = await self._list_known(connection, session, authorization_id, action)
        for known in usages:
            if await self._end(session, found[0], known):
                await self.captures.capture(shard=session.shard, session_id=session.id)
                return True
        return False

    async def _list_known(
        self,
        connection: Connection,
        session: SessionRecord,
        authorization_id: UUID,
        action: MissingCdrAction,
    ) -> list[KnownUsage]:
        """What may end the session: the operator's last update before the payer's statement."""
        cdr_id = last_known_cdr_id(session.id)
        update = None
        if action is MissingCdrAction.LAST_KNOWN_COST and self.updates is not None:
            update = await self.updates.find_last_update(
                connection, session, authorization_id=authorization_id, cdr_id=cdr_id
            )
        stated = await usage_repository.find_provisional(
            connection, shard=session.shard, session_id=session.id
        )
        known = [] if update is None else [update]
        if stated is not None:
            known.append(
                KnownUsage(
                    cdr_raw=_renamed(stated.cdr, cdr_id),
                    cdr_version=stated.cdr_version,
                    source=UsageSource.PAYER,
                )
            )
        return known

    async def _end(
        self, session: SessionRecord, authorization: AuthorizationRecord, known: KnownUsage
    ) -> bool:
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
                    authorization=authorization,
                    capture=None,
                ),
                replace(fixed, flags=[*fixed.flags, known.flag], stated_by=known.source),
            )
        except CdrRejectedError as error:
            _log.warning(
                "known_usage_unusable",
                session=format_id("ses", session.id),
                source=known.source.value,
                reason=str(error),
            )
            return False
        return True


def _renamed(cdr_raw: bytes, cdr_id: str) -> bytes:
    """The same CDR under an id of ours."""
    return _encoder.encode({**document.load(cdr_raw, document="CDR"), "id": cdr_id})
