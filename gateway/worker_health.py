"""A worker's health: that its loops turn.

Owns: GET /healthz of a worker. Must not know what a job does. A job that fails finishes its round too: a
restart would not bring the database back. One that never ends its round hangs: restart the process.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from gateway.jobs.job_loops import JobRounds

_OK: Final = 200
_UNAVAILABLE: Final = 503


@asynccontextmanager
async def health_server(rounds: JobRounds, *, host: str, port: int | None) -> AsyncIterator[int | None]:
    """Serve GET /healthz while the block runs; give the port, None where none is wanted.

    200: every job's loop turns. 503: the jobs that hang, with the seconds of their round.

    Raises:
        OSError: the port is taken.
    """
    if port is None:
        yield None
        return

    async def health(_request: web.Request) -> web.Response:
        stalled = rounds.stalled(at=asyncio.get_running_loop().time())
        shown = {job: round(seconds) for job, seconds in stalled.items()}
        return web.json_response(
            {"status": "stalled" if shown else "ok", "stalled_jobs": shown},
            status=_UNAVAILABLE if shown else _OK,
        )

    app = web.Application()
    app.router.add_get("/healthz", health)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
