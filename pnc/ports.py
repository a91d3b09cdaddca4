"""Ports: what Plug & Charge needs from outside.

Owns the Protocols and their one failure. Must not know HTTP: an adapter does, and it alone guards against
addresses that must not be requested.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import asyncpg

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Executor = Connection | asyncpg.Pool[asyncpg.Record]
else:  # Generic for the type checker only.
    Connection = asyncpg.Connection
    Executor = asyncpg.Connection | asyncpg.Pool


@asynccontextmanager
async def one_connection(executor: Executor) -> AsyncIterator[Connection]:
    """One connection of a pool for the block, or the connection that was given."""
    if isinstance(executor, asyncpg.Pool):
        async with executor.acquire() as connection:
            yield connection
    else:
        yield executor


class FetchError(Exception):
    """A responder or CRL could not be reached.

    Rejected address, timeout, another status, too large, no answer.
    """


class RevocationFetcher(Protocol):
    """Fetches bytes from an address that is on the allow-list.

    An implementation must reject addresses that are not public, follow no redirect, and bound time and size.
    """

    async def fetch_ocsp(self, url: str, request: bytes) -> bytes:
        """POST an OCSP request (application/ocsp-request) and return the response. Raises FetchError."""
        ...

    async def fetch_crl(self, url: str) -> bytes:
        """GET a CRL. Raises FetchError."""
        ...
