"""The calls of credentials handshakes in PostgreSQL.

Owns: rows, and how many of a party are kept. Must not know: HTTP, or what a handshake is for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries

_sql: Final[Any] = named_queries("gateway", "ocpi_handshakes.sql")
_KEPT: Final = 200
_MAX_TEXT: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeStep(FromRow):
    """One call of a handshake; `direction` is `received` or `sent`, the statuses are those of its answer."""

    id: UUID
    party_id: str
    direction: str
    method: str
    url: str
    http_status: int | None
    ocpi_status: int | None
    message: str
    occurred_at: datetime


async def add_steps(connection: Connection, steps: Sequence[HandshakeStep]) -> None:
    """Keep the steps of one handshake; a party keeps its newest 200."""
    for step in steps:
        await _sql.add_step(
            connection,
            id=step.id,
            party_id=step.party_id,
            direction=step.direction,
            method=step.method,
            url=step.url[:_MAX_TEXT],
            http_status=step.http_status,
            ocpi_status=step.ocpi_status,
            message=step.message[:_MAX_TEXT].replace("\x00", ""),
            occurred_at=step.occurred_at,
        )
    for party_id in {step.party_id for step in steps}:
        await _sql.trim_steps(connection, party_id=party_id, keep=_KEPT)


async def list_steps(connection: Connection, *, parties: Sequence[str], limit: int) -> list[HandshakeStep]:
    """The steps of some parties' handshakes, newest first."""
    rows = _sql.list_steps(connection, parties=list(parties), limit=limit)
    return [HandshakeStep.from_row(row) async for row in rows]
