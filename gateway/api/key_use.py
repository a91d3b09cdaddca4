"""When keys were last used: noted in memory by each request, stored once a minute.

Owns: that loop of a gateway process. Must not know how a key is checked. A gateway that is killed loses its
last minute; no request waits for it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

import structlog
from aiohttp import web

from gateway.api.services import ApiServices
from gateway.database import TRANSIENT
from gateway.logs import first_line

_EVERY_SECONDS: Final = 60.0
_log = structlog.get_logger(__name__)


def key_use_context(services: ApiServices) -> Callable[[web.Application], AsyncIterator[None]]:
    """The context that stores the use of keys from the server's start to its end, and once more then."""

    async def context(_app: web.Application) -> AsyncIterator[None]:
        storing = asyncio.create_task(_store_often(services), name="use of keys")
        yield
        storing.cancel()
        with suppress(asyncio.CancelledError):
            await storing
        await _store(services)

    return context


async def _store_often(services: ApiServices) -> None:
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        await _store(services)


async def _store(services: ApiServices) -> None:
    used = services.keys.take_used()
    if not used:
        return
    try:
        await services.api_keys.note_used(used)
    except TRANSIENT as error:
        _log.warning("key_use_not_stored", keys=len(used), reason=first_line(error))
