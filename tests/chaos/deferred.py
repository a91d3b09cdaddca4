"""What the faults have put off: retries that wait for minutes or hours are made due, so that a run ends soon.

Owns: which work is brought forward, and what is still waiting. Must not know: the faults, the sessions. A
request that may still be under way keeps its grace, and a lease its holder.
"""

from contextlib import suppress
from typing import Final

import asyncpg

_FORWARD: Final = (
    """
    UPDATE gateway.psp_request SET next_attempt_at = now()
    WHERE state = 'unknown' AND next_attempt_at > now() + interval '1 second'
    """,
    """
    UPDATE gateway.task SET run_at = now()
    WHERE exception_at IS NULL AND attempts > 0 AND run_at > now() + interval '1 second'
      AND (leased_until IS NULL OR leased_until <= now())
    """,
)
_WAITING: Final = """
    SELECT format('%s %s of the PSP requests wait until %s', count(*), kind, max(next_attempt_at)) AS line
    FROM gateway.psp_request WHERE state IN ('intended', 'unknown') GROUP BY kind
    UNION ALL
    SELECT format('%s tasks %s wait until %s, leased until %s: %s', count(*), kind, max(run_at),
                  max(leased_until), max(last_error))
    FROM gateway.task GROUP BY kind
"""


async def bring_forward(dsn: str) -> int:
    """Make due what waits after a failed attempt; how many rows. None where the database is away."""
    changed = 0
    with suppress(asyncpg.PostgresError, OSError, TimeoutError):
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            for statement in _FORWARD:
                changed += int((await connection.execute(statement)).rpartition(" ")[2])
        finally:
            await connection.close()
    return changed


async def list_waiting(dsn: str) -> list[str]:
    """What is still waiting, a line for each kind."""
    with suppress(asyncpg.PostgresError, OSError, TimeoutError):
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            return [row["line"] for row in await connection.fetch(_WAITING)]
        finally:
            await connection.close()
    return ["the database does not answer"]
