"""Messages that must reach a peer: sent in order per object, retried with growing pauses, parked in sight.

Owns: when a message is tried again. Must not know: what it says. OCPI itself does not queue; what is told
here is a record that a CPO can read at any time as well, so a repetition does no harm and a loss would.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from gateway.database import transaction
from gateway.ocpi.connecting import caller_of
from gateway.ocpi.errors import OcpiError, PeerRefusedError
from gateway.ocpi.services import OcpiServices
from gateway.store import ocpi_commands, ocpi_payments, ocpi_peers
from gateway.store.ocpi_payments import Message

_log = structlog.get_logger(__name__)
PAUSES: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 60, 300, 1800, 7200, 21600, 43200, 86400, 86400, 86400)
)
_LEASE: Final = timedelta(minutes=2)
_BATCH: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxLane:
    """A lane of work: sends what is due, and ends commands whose result never came."""

    services: OcpiServices
    name: str = "ocpi_outbox"

    async def run_once(self) -> int:
        """Send up to twenty due messages at once. Returns how much was done."""
        wall_now = self.services.clock.wall_now()
        async with transaction(self.services.pool) as connection:
            expired = await ocpi_commands.expire_commands(connection, wall_now=wall_now)
            due = await ocpi_payments.lease_messages(
                connection, wall_now=wall_now, leased_until=wall_now + _LEASE, batch=_BATCH
            )
        async with asyncio.TaskGroup() as group:
            for message in due:
                group.create_task(self._send(message))
        return expired + len(due)

    async def _send(self, message: Message) -> None:
        try:
            await self._call(message)
        except OcpiError as error:
            await self._postpone(message, str(error))
            return
        async with transaction(self.services.pool) as connection:
            await ocpi_payments.message_sent(connection, message_id=message.id)

    async def _call(self, message: Message) -> None:
        async with self.services.pool.acquire() as connection:
            peer = await ocpi_peers.peer_of_party(connection, party_id=message.party_id)
            url = None
            if peer is not None:
                url = await ocpi_peers.endpoint_url(
                    connection, peer_id=peer.id, module=message.module, role="RECEIVER"
                )
        if peer is None or url is None or peer.outbound_token is None:
            raise PeerRefusedError(
                f"no registered platform of {message.party_id} takes {message.module}",
                http_status=0,
                code=None,
            )
        caller = caller_of(self.services, peer, token=peer.outbound_token, party_id=message.party_id)
        target = f"{url.rstrip('/')}{message.path}"
        await caller.call(
            message.method, target, body=message.body, routed=True, correlation_id=str(message.id)
        )

    async def _postpone(self, message: Message, reason: str) -> None:
        park = message.attempts > len(PAUSES)
        pause = timedelta(0) if park else PAUSES[message.attempts - 1]
        _log.warning(
            "ocpi_message_not_sent",
            party_id=message.party_id,
            object_id=message.object_id,
            reason=reason,
            parked=park,
        )
        async with transaction(self.services.pool) as connection:
            await ocpi_payments.postpone_message(
                connection,
                message_id=message.id,
                run_at=self.services.clock.wall_now() + pause,
                reason=reason[:500],
                park=park,
            )
