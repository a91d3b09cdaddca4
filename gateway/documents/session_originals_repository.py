"""The CDRs and tariffs of sessions as rows, for the documents that clearing writes.

Owns: this one statement. Must not know: what a document shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from clearing.documents.session_originals import SessionOriginals
from gateway.database import Connection, named_queries
from gateway.ids import shard_of
from gateway.stored_tariffs import StoredTariff, StoredTariffs

_QUERIES: Final[Any] = named_queries("gateway", "session_originals.sql")


@dataclass(frozen=True, slots=True)
class StoredSessionOriginals:
    """Reads them from the gateway's own tables (clearing's `SessionOriginalsSource`)."""

    tariffs: StoredTariffs = field(default_factory=StoredTariffs)

    async def load(
        self, connection: Connection, session_ids: Sequence[UUID]
    ) -> Mapping[UUID, SessionOriginals]:
        """The originals of those sessions that have a CDR, by session."""
        shards = [shard_of(session_id) for session_id in session_ids]
        found = _QUERIES.originals(connection, shards=shards, ids=list(session_ids))
        rows = [row async for row in found]
        tariffs = await self.tariffs.load(connection, [row["tariff_sha256"] for row in rows])
        return {row["id"]: _originals(row, tariffs[row["tariff_sha256"]]) for row in rows}


def _originals(row: Mapping[str, Any], tariff: StoredTariff) -> SessionOriginals:
    return SessionOriginals(
        cdr_json=row["cdr"],
        cdr_version=row["cdr_version"],
        tariff_json=tariff.canonical,
        tariff_sha256=tariff.sha256,
        tariff_version=tariff.version,
        time_zone=row["time_zone"],
    )
