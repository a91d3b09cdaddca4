"""The principals of API keys as rows.

Owns: reads and writes of gateway.api_key.principal. Must not know what needs two of them.
"""

from typing import Any, Final

from gateway.database import Connection, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "principals.sql")


async def find_principal(connection: Connection, prefix: str) -> str:
    """The principal of a key: the one that its maker had, else the key itself. `admin` is the first key's."""
    found: str | None = await _QUERIES.principal_of(connection, prefix=prefix)
    return found or prefix


async def set_principal(connection: Connection, prefix: str, *, principal: str) -> None:
    """Record whose a fresh key is."""
    await _QUERIES.set_principal(connection, prefix=prefix, principal=principal)
