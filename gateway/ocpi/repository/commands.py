"""Commands sent to CPOs, in PostgreSQL.

Owns: translation between rows and values. Must not know: HTTP, or which state follows which.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.database import Connection, named_queries

_sql = named_queries("gateway", "ocpi_commands.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """A command; `state` is one of gateway.ocpi.command_state, `response` the CPO's own.

    `result` is the station's.
    """

    id: UUID
    cpo_id: str
    command: str
    state: str
    authorization_reference: str | None
    response: str | None
    result: str | None
    reason: str | None
    created_at: datetime
    deadline: datetime
    finished_at: datetime | None


async def add_command(
    connection: Connection,
    *,
    command_id: UUID,
    cpo_id: str,
    command: str,
    authorization_reference: str | None,
    wall_now: datetime,
    deadline: datetime,
) -> None:
    """Keep the intent to send a command. Raises asyncpg.CheckViolationError for a command that OCPI lacks."""
    await _sql.add_command(
        connection,
        id=command_id,
        cpo_id=cpo_id,
        command=command,
        authorization_reference=authorization_reference,
        wall_now=wall_now,
        deadline=deadline,
    )


async def move_command(
    connection: Connection,
    *,
    command_id: UUID,
    expected: Sequence[str],
    state: str,
    final: bool,
    wall_now: datetime,
    response: str | None = None,
    result: str | None = None,
    reason: str | None = None,
    deadline: datetime | None = None,
) -> bool:
    """Move a command from one of `expected` to `state`; False when it was in none of them."""
    moved = await _sql.move_command(
        connection,
        id=command_id,
        expected=list(expected),
        state=state,
        final=final,
        wall_now=wall_now,
        response=response,
        result=result,
        reason=reason,
        deadline=deadline,
    )
    return moved is not None


async def load_command(connection: Connection, *, command_id: UUID) -> CommandRecord | None:
    """One command."""
    row = await _sql.load_command(connection, id=command_id)
    return None if row is None else CommandRecord(**dict(row))


async def expire_commands(connection: Connection, *, wall_now: datetime) -> int:
    """Time out the commands whose deadline has passed; returns how many."""
    expired: int = await _sql.expire_commands(connection, wall_now=wall_now)
    return expired


async def find_session_of_reference(
    connection: Connection, *, cpo_id: str, references: Sequence[str]
) -> str | None:
    """The CPO's id of the session that carries one of our references."""
    found: str | None = await _sql.session_of_reference(
        connection, party_id=cpo_id, references=list(references)
    )
    return found
