"""The CDRs and tariffs of sessions as rows, for the documents that clearing writes.

Owns: this one statement. Must not know: what a document shows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from clearing.documents.session_originals import SessionOriginals
from gateway.database import Connection, named_queries
from gateway.ids import shard_of

_QUERIES: Final[Any] = named_queries("gateway", "session_originals.sql")


class StoredSessionOriginals:
    """Reads them from the gateway's own tables (clearing's `SessionOriginalsSource`)."""

    async def load(
        self, connection: Connection, session_ids: Sequence[UUID]
    ) -> Mapping[UUID, SessionOriginals]:
        """The originals of those sessions that have a CDR, by session."""
        shards = [shard_of(session_id) for session_id in session_ids]
        found = _QUERIES.originals(connection, shards=shards, ids=list(session_ids))
        rows = [row async for row in found]
        tariffs = {
            row["sha256"]: row
            async for row in _QUERIES.tariffs(connection, hashes=list({one["tariff_sha256"] for one in rows}))
        }
        return {row["id"]: _originals(row, tariffs[row["tariff_sha256"]]) for row in rows}


def _originals(row: Mapping[str, Any], tariff: Mapping[str, Any]) -> SessionOriginals:
    return SessionOriginals(
        cdr_json=row["cdr"],
        cdr_version=row["cdr_version"],
        tariff_json=tariff["canonical"],
        tariff_sha256=row["tariff_sha256"],
        tariff_version=tariff["version"],
        time_zone=row["time_zone"],
    )
