"""Health: running, and ready to serve.

Owns: /healthz and /readyz. Must not know who calls; they need no key and reveal nothing about the system.
However often they are asked, the database is asked at most once a second.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

import asyncpg
from aiohttp import web

from gateway.api.services import ApiServices
from gateway.database import Pool

_READY_TIMEOUT_SECONDS: Final = 2.0
_ASKED_AGAIN_SECONDS: Final = 1.0
_OK: Final = 200
_NOT_YET: Final = 503
# A standby answers, and refuses every write: who can't take a payment is not ready.
_WRITABLE: Final = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'"


def health_routes(services: ApiServices) -> list[web.RouteDef]:
    """`/healthz`: the process is running. `/readyz`: its database takes writes within two seconds."""
    database = DatabaseReadiness(pool=services.pool)

    async def alive(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_request: web.Request) -> web.Response:
        answers, writable = await database.state()
        return web.json_response(
            {
                "status": "ok" if writable else "unavailable",
                "database": answers,
                "database_writable": writable,
            },
            status=_OK if writable else _NOT_YET,
        )

    return [web.get("/healthz", alive), web.get("/readyz", ready)]


@dataclass(slots=True, kw_only=True)
class DatabaseReadiness:
    """Whether the database answers and takes writes, as seen within the last second."""

    pool: Pool
    _seen: tuple[bool, bool] = (False, False)
    _seen_at: float = float("-inf")
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def state(self) -> tuple[bool, bool]:
        """Return whether it answers, and whether it takes writes."""
        async with self._asking:
            if time.monotonic() - self._seen_at >= _ASKED_AGAIN_SECONDS:
                self._seen = await self._ask()
                self._seen_at = time.monotonic()
            return self._seen

    async def _ask(self) -> tuple[bool, bool]:
        try:
            async with asyncio.timeout(_READY_TIMEOUT_SECONDS), self.pool.acquire() as connection:
                return True, bool(await connection.fetchval(_WRITABLE))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False, False
