"""The peer's timeouts, multiplied: a loaded machine is slow, and a real vehicle's two seconds don't test us.

The package waits through `asyncio.wait_for` alone, with the protocol's own timeouts in seconds.
"""

import asyncio
import os
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")
FACTOR = float(os.environ.get("TIMEOUT_FACTOR", "1"))


def multiply_timeouts() -> None:
    """Have this process wait TIMEOUT_FACTOR times as long as the protocol says."""
    plain = asyncio.wait_for

    async def wait_for(awaitable: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109 - the signature of asyncio's
        return await plain(awaitable, None if timeout is None else timeout * FACTOR)

    asyncio.wait_for = wait_for
