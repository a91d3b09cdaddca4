"""The store of clearing: asyncpg over named SQL. Takes a connection, never opens or ends a transaction."""
