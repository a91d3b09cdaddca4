"""Contracts as tokens: an active contract's eMAID is a token that CPOs are sent, find and ask about.

Owns: following the contracts' changes. Must not know: HTTP, which token a contract is. The CPO always has to
ask: a copied whitelist knows neither limits nor blocks. Source: decision 0826.
"""

from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ocpi.emaid_contracts import load_contract, token_of_contract
from gateway.ocpi.repository import tokens
from gateway.ocpi.repository.peers import PeerRole
from gateway.ocpi.token_service import store_token
from gateway.ocpi.token_types import EMAID
from pnc import contract_administration
from pnc.contract import ChangeCursor

_log = structlog.get_logger(__name__)
_CHANGES_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EmaidTokenService:
    """Makes the changes of contracts into tokens, each change once and in order."""

    pool: Pool
    clock: Clock
    role: PeerRole
    environment: str

    async def follow(self) -> int:
        """Bring the tokens of the contracts changed next up to date. Returns how many changes were read."""
        async with self.pool.acquire() as connection:
            place = await tokens.load_emaid_place(connection, environment=self.environment)
            after = ChangeCursor(transaction=place[0], sequence=place[1])
            changes = await contract_administration.list_changes(
                connection, environment=self.environment, after=after, limit=_CHANGES_AT_ONCE
            )
        if not changes:
            return 0
        last = changes[-1].cursor
        async with transaction(self.pool) as connection:
            moved = await tokens.move_emaid_place(
                connection,
                environment=self.environment,
                before=place,
                after=(last.transaction, last.sequence),
                now=self.clock.now(),
            )
            if moved:  # else another process has read these changes
                for emaid in sorted({change.emaid for change in changes}):
                    await self._store(connection, emaid)
        return len(changes)

    async def _store(self, connection: Connection, emaid: str) -> None:
        """Store the token of a contract and send it, unless it is as it was."""
        contract = await load_contract(connection, environment=self.environment, emaid=emaid)
        if contract is None:
            return
        token = token_of_contract(contract, role=self.role, now=self.clock.now())
        known = await tokens.load_token(connection, uid=token.uid, token_type=EMAID)
        if known is not None and known.valid == token.valid:
            return
        try:
            async with connection.transaction():
                stored = await store_token(connection, token, clock=self.clock)
        except asyncpg.ForeignKeyViolationError:  # a contract of no party here: it must not stop the others
            stored = False
        if not stored:
            _log.warning("emaid_token_not_stored", party_id=contract.party)
