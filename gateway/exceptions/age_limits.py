"""The age limits of exceptions as people read and set them, in one transaction of the caller.

Owns: what is set and what is refused. Must not know: the queue, HTTP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.database import Connection
from gateway.exception_kinds import ExceptionKind
from gateway.exceptions import repository
from gateway.exceptions.due import MAX_HOURS, MIN_HOURS, is_allowed, limits_with
from gateway.exceptions.errors import ExceptionConflictError
from gateway.exceptions.repository import AgeLimitRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeLimits:
    """The limit of every kind, and those that were set by a person."""

    values: Mapping[ExceptionKind, timedelta]
    own: Sequence[AgeLimitRecord]


def limits_of(own: Sequence[AgeLimitRecord]) -> Mapping[ExceptionKind, timedelta]:
    """The limit of every kind."""
    return limits_with({one.kind: one.hours for one in own})


async def read_age_limits(connection: Connection) -> AgeLimits:
    """The limits in force."""
    own = await repository.list_age_limits(connection)
    return AgeLimits(values=limits_of(own), own=own)


async def set_age_limits(
    connection: Connection, hours: Mapping[ExceptionKind, int | None], *, by: str, now: datetime
) -> AgeLimits:
    """Set the limits of these kinds, in hours; None: its default again. Others keep theirs.

    Raises ExceptionConflictError where a limit is out of range; nothing is set then.
    """
    given = {kind: limit for kind, limit in hours.items() if limit is not None}
    for kind, limit in given.items():
        if not is_allowed(limit):
            raise ExceptionConflictError(f"{kind}: {limit} is not from {MIN_HOURS} to {MAX_HOURS} hours")
    await repository.put_age_limits(connection, given, by=by, now=now)
    await repository.delete_age_limits(connection, [kind for kind, limit in hours.items() if limit is None])
    return await read_age_limits(connection)
