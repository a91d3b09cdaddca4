"""Inviting a party to connect over OCPI, as the receiver of its registration.

Owns: token A. Must not know: how the invitation reaches the party.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import new_id
from gateway.ocpi.credentials import new_token
from gateway.ocpi.repository import peers


class OcpiRegistrations:
    """Opens registrations. Stateless; the caller owns the transaction."""

    async def create_registration(
        self, connection: Connection, party_id: str, now: datetime, *, also: Sequence[str] = ()
    ) -> str:
        """Return a fresh token A for `party_id`, to be handed over safely; it is shown once.

        Args:
            connection: in the caller's transaction.
            party_id: slug of the invited party, such as `NL-ABC`; it must exist.
            now: business time of the invitation.
            also: slugs of further parties that its platform operates for; they must exist.

        Raises:
            asyncpg.ForeignKeyViolationError: one of the parties does not exist.
        """
        token = new_token()
        await peers.invite(
            connection,
            peer_id=new_id(),
            party_id=party_id,
            parties=also,
            token_hash=peers.hash_token(token),
            now=now,
        )
        return token


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiRegistrationService:
    """Opens registrations for the API, each in a transaction of its own."""

    pool: Pool
    clock: Clock

    async def register(self, *, party_id: str, also: Sequence[str] = ()) -> str:
        """Return a fresh token A for a party, which must exist; an earlier one that was not used ends.

        `also`: further parties that its platform operates for; they must exist.
        """
        async with transaction(self.pool) as connection:
            return await OcpiRegistrations().create_registration(
                connection, party_id, self.clock.now(), also=also
            )
