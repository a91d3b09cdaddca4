"""What a connected CPO reports: whether its CDRs come, and a running session's last update where none came.

Owns: finding that update and reading it as the CDR that it would be. Must not know: when a session counts as
forgotten, what is captured.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog
from typing_extensions import override

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Connection
from gateway.ids import format_id
from gateway.ocpi.errors import OcpiRejectionError
from gateway.ocpi.repository import objects, peers
from gateway.ocpi.running_cost import as_if_ended
from gateway.payments.missing_cdr import KnownUsage, SessionUpdateSource
from gateway.payments.records import SessionRecord

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OcpiLastUpdates(SessionUpdateSource):
    """What CPOs pushed of their running sessions."""

    @override
    async def sends_cdrs(self, connection: Connection, *, cpo_id: str) -> bool:
        """Whether a registered platform speaks for the CPO."""
        return await peers.find_peer_of_party(connection, party_id=cpo_id) is not None

    @override
    async def find_last_update(
        self, connection: Connection, session: SessionRecord, *, authorization_id: UUID, cdr_id: str
    ) -> KnownUsage | None:
        """The session as if it had ended at its last update; None where there is none that can be read."""
        known = await objects.find_last_update(
            connection,
            cpo_id=session.cpo_id,
            session_ref=session.session_ref,
            references=[format_id("ses", session.id), format_id("auth", authorization_id)],
        )
        if known is None:
            return None
        try:
            raw = as_if_ended(known, cdr_id=cdr_id)
        except OcpiRejectionError as rejection:
            _log.warning("last_update_unreadable", session=cdr_id, reason=str(rejection))
            return None
        return KnownUsage(cdr_raw=raw, cdr_version=OcpiVersion.V2_2_1.value)
