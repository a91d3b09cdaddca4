"""Messages that must reach a peer: sent in order per object, retried, at last an exception.

Owns: one sending and when a message is tried again. Must not know: what it says, or which messages are due.
OCPI itself has no queue. Each message is a record that a CPO can read at any time as well: sending it twice
does no harm, losing it would.
"""

from datetime import timedelta
from typing import Final

import structlog

from gateway.database import transaction
from gateway.ocpi.credentials_client import caller_of
from gateway.ocpi.errors import OcpiError, PeerRejectedError
from gateway.ocpi.hub_clients import why_not_reached
from gateway.ocpi.repository import payments, peers
from gateway.ocpi.repository.payments import OcpiMessageRecord
from gateway.ocpi.services import OcpiServices
from gateway.retry_policy import RetryPolicy

_TO_ALL: Final = "tokens"  # the module whose messages are the same to every party
_log = structlog.get_logger(__name__)
RETRY: Final = RetryPolicy.of_seconds(5, 60, 300, 1800, 7200, 21_600, 43_200, 86_400, max_attempts=11)


async def send_message(services: OcpiServices, message: OcpiMessageRecord) -> None:
    """Send one leased message; when the peer does not take it, postpone it or mark it as an exception."""
    try:
        await _call(services, message)
    except OcpiError as error:
        await _postpone(services, message, str(error))
        return
    async with transaction(services.pool) as connection:
        await payments.mark_message_sent(connection, message_id=message.id)


async def _call(services: OcpiServices, message: OcpiMessageRecord) -> None:
    async with services.pool.acquire() as connection:
        peer = await peers.find_peer_of_party(connection, party_id=message.party_id)
        url = unreached = None
        if peer is not None:
            if message.module != _TO_ALL:
                unreached = await why_not_reached(connection, peer, party_id=message.party_id)
            url = await peers.find_endpoint_url(
                connection, peer_id=peer.id, module=message.module, role="RECEIVER"
            )
    if peer is None or url is None or peer.outbound is None:
        raise PeerRejectedError(
            f"no registered platform of {message.party_id} accepts {message.module}",
            http_status=0,
            code=None,
        )
    if unreached is not None:
        raise PeerRejectedError(unreached, http_status=0, code=None)
    to_all = message.module == _TO_ALL  # of a hub's parties, where the peer is one
    caller = caller_of(services, peer, party_id=None if to_all else message.party_id)
    target = f"{url.rstrip('/')}{message.path}"
    await caller.call(message.method, target, body=message.body, routed=True, correlation_id=str(message.id))


async def _postpone(services: OcpiServices, message: OcpiMessageRecord, reason: str) -> None:
    delay = RETRY.delay_after(message.attempts)
    _log.warning(
        "ocpi_message_not_sent",
        party_id=message.party_id,
        object_id=message.object_id,
        reason=reason,
        final=delay is None,
    )
    async with transaction(services.pool) as connection:
        await payments.postpone_message(
            connection,
            message_id=message.id,
            run_at=services.clock.wall_now() + (delay or timedelta(0)),
            reason=reason.replace("\x00", "")[:500],
            exception=delay is None,
        )
