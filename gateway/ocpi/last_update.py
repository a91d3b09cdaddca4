"""The last update of a running session, for a payment whose CDR never came.

Owns: finding that update and reading it as the CDR that it would be. Must not know: when a session counts as
forgotten, what is captured.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog
from typing_extensions import override

from clearing.pricing.ocpi import OcpiVersion
from gateway.database import Connection, named_queries
from gateway.ids import format_id
from gateway.ocpi.errors import Refusal
from gateway.ocpi.running_cost import as_if_ended
from gateway.payments.missing import KnownUsage, LastUpdates
from gateway.payments.records import SessionRecord
from gateway.store.ocpi_objects import DueSession

_sql = named_queries("gateway", "holds.sql")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OcpiLastUpdates(LastUpdates):
    """What CPOs pushed of their running sessions."""

    @override
    async def last_known(
        self, connection: Connection, session: SessionRecord, *, authorization_id: UUID, cdr_id: str
    ) -> KnownUsage | None:
        """The session as if it had ended at its last update; None where there is none that can be read."""
        row = await _sql.last_update(
            connection,
            cpo_id=session.cpo_id,
            references=[format_id("ses", session.id), format_id("auth", authorization_id)],
            session_key=(session.session_ref or "").lower(),
        )
        if row is None:
            return None
        known = DueSession(
            party_id=session.cpo_id,
            session_key=row["session_ref"].lower(),
            attempts=0,
            due_at=row["last_updated"],
            session_ref=row["session_ref"],
            version=OcpiVersion(row["version"]),
            body=row["body"],
            energy_wh=row["energy_wh"],
            authorization_reference=None,
            last_updated=row["last_updated"],
        )
        try:
            raw = as_if_ended(known, cdr_id=cdr_id)
        except Refusal as refusal:
            _log.warning("last_update_unreadable", session=cdr_id, reason=str(refusal))
            return None
        return KnownUsage(cdr_raw=raw, cdr_version=OcpiVersion.V2_2_1.value)
