"""Runs a long-lived process: the event loop, the signals that stop it, and its logs.

Owns how a process starts and stops. Must not know what runs in it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from gateway.config import Settings, load_settings
from gateway.logs import configure_logs

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run_process(
    body: Callable[[Settings, asyncio.Event], Awaitable[None]], *, number: int | None = None
) -> None:
    """Run `body(settings, stop)` to its end; SIGINT or SIGTERM sets `stop`, a second one cancels the body.

    `number` is that of one process of several; its log lines carry it.

    Raises:
        ConfigurationError: a setting is missing or wrong.
    """
    settings = load_settings(os.environ)
    configure_logs(log_format=settings.log_format, log_level=settings.log_level, process=number)
    run_async(_until_stopped(body, settings))


def run_async(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on the fastest loop there is and return its result."""
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop  # noqa: PLC0415 - not installed on Windows

    return uvloop.run(work)


async def _until_stopped(
    body: Callable[[Settings, asyncio.Event], Awaitable[None]], settings: Settings
) -> None:
    stop = asyncio.Event()
    task = asyncio.ensure_future(body(settings, stop))
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        await task
    except asyncio.CancelledError:
        # Only a second signal cancels the body; the next start takes up its work again.
        if not stop.is_set():
            raise
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


def cancel_on_signals() -> asyncio.Event:
    """Have SIGINT and SIGTERM cancel the calling task once; the returned event is set by them."""
    stopped, task, loop = asyncio.Event(), asyncio.current_task(), asyncio.get_running_loop()

    def on_signal() -> None:
        if task is not None and not stopped.is_set():
            stopped.set()
            task.cancel()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    return stopped
