"""Health: running, and ready to serve.

Owns: /healthz and /readyz. Must not know who calls; they need no key and reveal nothing about the system.
"""

import asyncio
from typing import Final

import asyncpg
from aiohttp import web

from gateway.api.services import ApiServices

_READY_TIMEOUT_SECONDS: Final = 2.0
_OK: Final = 200
_NOT_YET: Final = 503


def health_routes(services: ApiServices) -> list[web.RouteDef]:
    """`/healthz`: the process is running. `/readyz`: its database answers within two seconds."""

    async def alive(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_request: web.Request) -> web.Response:
        answers = await _database_answers(services)
        return web.json_response(
            {"status": "ok" if answers else "unavailable", "database": answers},
            status=_OK if answers else _NOT_YET,
        )

    return [web.get("/healthz", alive), web.get("/readyz", ready)]


async def _database_answers(services: ApiServices) -> bool:
    try:
        async with asyncio.timeout(_READY_TIMEOUT_SECONDS), services.pool.acquire() as connection:
            return bool(await connection.fetchval("SELECT 1"))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
