"""A transaction in the name of whoever asks: its connection and the principal of the API key.

Owns: that the principal for the record and for four-eyes approval is the API key's, never a name that a
person typed. Must not know what is done in its name.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.database import Connection, Pool, transaction
from gateway.partners import principal_repository


@asynccontextmanager
async def principal_transaction(pool: Pool, *, key: str) -> AsyncIterator[tuple[Connection, str]]:
    """Give a connection in a transaction, and the principal of `key`, the API key that asks."""
    async with transaction(pool) as connection:
        yield connection, await principal_repository.find_principal(connection, key)
