"""How a process wakes the workers of other processes: PostgreSQL's NOTIFY, four times a second at most.

Owns: the channel, how often it is used, and the connection that listens. Must not know what work was left.

A notice is sent after the work was committed, by a statement of its own: a NOTIFY in the work's transaction
would have every commit wait for one lock of the database. A notice that is lost costs a look later: workers
look by themselves, within a quarter of a second after the last work that they found, every two seconds when
idle.
"""

import asyncio
from typing import Any, Final

import structlog

from gateway.database import BareConnection, Pool, connect
from gateway.failure_log import is_transient
from gateway.jobs import shard_lease_repository
from gateway.jobs.job_loops import rest
from gateway.work_signal import WorkSignal, wait_for

CHANNEL: Final = "networkcore_work"
AT_MOST_EVERY_S: Final = 0.25
_CHECK_S: Final = 60.0
_RETRY_S: Final = 5.0
_log = structlog.get_logger(__name__)


async def send_notices(pool: Pool, signal: WorkSignal, *, sender: str, stop: asyncio.Event) -> None:
    """Send a notice when this process left work, until `stop`; `sender` says who, and ignores its own."""
    while not stop.is_set():
        if not await signal.wait_for_work_left(stop=stop):
            return
        try:
            async with pool.acquire() as connection:
                await shard_lease_repository.notify_of_work(connection, channel=CHANNEL, sender=sender)
        except Exception as error:  # noqa: BLE001 - workers look by themselves: nothing else ends for it
            if not is_transient(error):
                _log.exception("work_notice_not_sent")
        await rest(stop, AT_MOST_EVERY_S)


async def hear_notices(dsn: str, signal: WorkSignal, *, sender: str, stop: asyncio.Event) -> None:
    """Wake this process when another left work, until `stop`. `dsn` leads past a pooler.

    Without a connection the process looks by itself; it is tried again every few seconds.
    """

    def hear(_connection: Any, _pid: int, _channel: str, payload: object) -> None:
        if payload != sender:
            signal.wake()

    lost = False
    while not stop.is_set():
        try:
            async with connect(dsn, application="networkcore listener") as connection:
                await connection.add_listener(CHANNEL, hear)
                lost = False
                await _until_lost(connection, stop)
                await connection.remove_listener(CHANNEL, hear)
        except Exception as error:  # noqa: BLE001 - workers look by themselves: nothing else ends for it
            if not lost:
                _log.warning("work_notices_not_heard", reason=type(error).__name__)
            lost = True
            await rest(stop, _RETRY_S)


async def _until_lost(connection: BareConnection, stop: asyncio.Event) -> None:
    """Return when `stop` is set; raise when the connection has ended or no longer answers."""
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _connection: ended.set())
    while not stop.is_set():
        await wait_for(ended, stop=stop, seconds=_CHECK_S)
        if ended.is_set():
            raise ConnectionResetError("the connection that listens was ended")
        await connection.execute("SELECT 1")
