"""The database of a command that works on it and ends: one pool, one transaction or a few.

Owns: its connections, their time limit, and the sentence for a database that is not migrated. Must not know
what is done in them.
"""

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, TypeVar

import asyncpg
import click

from gateway.acts.act import Act, acting
from gateway.acts.service import record_reading
from gateway.config import load_database_url
from gateway.database import Connection, Isolation, Pool, create_pool, transaction
from gateway.errors import DatabaseNotMigratedError

_TIMEOUT_MS: Final = 3_600_000
_Result = TypeVar("_Result")


@asynccontextmanager
async def open_pool(command: str, *, max_size: int = 1, reading: bool = False) -> AsyncIterator[Pool]:
    """A pool on DATABASE_URL for one run of `command`.

    `reading`: it shows or writes personal data or the books, which is an act of its own, recorded before it.

    Raises:
        ConfigurationError: DATABASE_URL is missing or wrong.
        DatabaseUnreachableError: no PostgreSQL answers there.
        DatabaseNotMigratedError: a table of ours is missing.
    """
    pool = await create_pool(
        load_database_url(os.environ),
        min_size=1,
        max_size=max_size,
        application=f"networkcore {command}",
        statement_timeout_ms=_TIMEOUT_MS,
    )
    try:
        with naming_missing_tables(), acting(command_act(command)):
            if reading:
                await _record_reading(pool, command)
            yield pool
    finally:
        await pool.close()


async def _record_reading(pool: Pool, command: str) -> None:
    try:
        async with transaction(pool) as connection:
            await record_reading(connection, command_act(command))
    except asyncpg.ReadOnlySQLTransactionError as error:  # of a standby: it can be read without us anyway
        click.echo(f"no act is recorded of this reading: {error}", err=True)


def command_act(command: str) -> Act:
    """The act of a command: its user at this machine is whom the record names."""
    return Act(operation=f"networkcore {command}", principal=f"user:{_user()}")


def _user() -> str:
    """The user at this machine, as far as it says; a container may know none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@contextmanager
def naming_missing_tables() -> Iterator[None]:
    """Turn a missing table of ours into a DatabaseNotMigratedError."""
    try:
        yield
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        raise DatabaseNotMigratedError from None


def in_transaction(
    work: Callable[[Connection], Awaitable[_Result]],
    *,
    command: str,
    isolation: Isolation = "read_committed",
    reading: bool = False,
) -> _Result:
    """Run it in one transaction on DATABASE_URL and commit; an error undoes it. Raises as `open_pool`."""

    async def run() -> _Result:
        async with (
            open_pool(command, reading=reading) as pool,
            transaction(pool, isolation=isolation) as connection,
        ):
            return await work(connection)

    return asyncio.run(run())
