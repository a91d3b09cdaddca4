"""Client certificates of parties as rows.

Owns: reads and writes of gateway.client_certificate. Must not know: TLS, or what a binding demands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.database import Connection, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "client_certificates.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A certificate bound to a party; `sha256` is of its DER."""

    sha256: bytes
    party_id: str
    subject: str
    not_after: datetime
    added_at: datetime
    retired_at: datetime | None = None


async def add(connection: Connection, certificate: ClientCertificate) -> ClientCertificate | None:
    """Bind a certificate; None where it is another party's. Foreign-key violation: no such party."""
    row = await _QUERIES.add_client_certificate(
        connection,
        sha256=certificate.sha256,
        party_id=certificate.party_id,
        subject=certificate.subject,
        not_after=certificate.not_after,
        added_at=certificate.added_at,
    )
    return None if row is None else _of(row)


async def list_by_party(connection: Connection, *, party_id: str) -> list[ClientCertificate]:
    """A party's certificates, oldest first, retired ones too."""
    return [_of(row) async for row in _QUERIES.list_client_certificates(connection, party_id=party_id)]


async def retire(connection: Connection, *, party_id: str, sha256: bytes, now: datetime) -> bool:
    """End a binding; False where there is none."""
    row = await _QUERIES.retire_client_certificate(connection, party_id=party_id, sha256=sha256, now=now)
    return row is not None


def _of(row: Mapping[str, Any]) -> ClientCertificate:
    return ClientCertificate(
        sha256=row["sha256"],
        party_id=row["party_id"],
        subject=row["subject"],
        not_after=row["not_after"],
        added_at=row["added_at"],
        retired_at=row["retired_at"],
    )
