"""Sends queued messages to OCPI peers, and ends commands whose result never came.

Owns: how many messages are leased at once and for how long. Must not know what a message says or when it is
sent again.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway.database import transaction
from gateway.ocpi import outbox
from gateway.ocpi.repository import commands, payments
from gateway.ocpi.services import OcpiServices

_LEASE: Final = timedelta(minutes=2)
_BATCH: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiOutboxJob:
    """Sends what is due, up to twenty messages side by side."""

    services: OcpiServices
    name: str = "ocpi_outbox"

    async def run_once(self) -> int:
        """One round. Returns how many messages were sent or postponed, and commands ended."""
        wall_now = self.services.clock.wall_now()
        async with transaction(self.services.pool) as connection:
            expired = await commands.expire_commands(connection, wall_now=wall_now)
            due = await payments.lease_messages(
                connection, wall_now=wall_now, leased_until=wall_now + _LEASE, batch=_BATCH
            )
        async with asyncio.TaskGroup() as group:
            for message in due:
                group.create_task(outbox.send_message(self.services, message))
        return expired + len(due)
