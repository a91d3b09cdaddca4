"""Access to PostgreSQL: pools, transactions, exact JSON, and named SQL from files.

Owns how a connection is set up and how its failures are named. Must not know any table.

Conventions: a service opens the transaction with `transaction(pool)` and passes the connection on; a
repository takes a connection and never opens or ends a transaction; no call outside the database happens
inside one. JSON numbers with a fraction become Decimal, and Decimal is written as a number: no float passes
through a column.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self, TypeVar, cast
from urllib.parse import urlsplit

import aiosql
import asyncpg
import msgspec
from aiosql.adapters.asyncpg import AsyncPGAdapter
from asyncpg.pool import PoolConnectionProxy
from typing_extensions import override

from gateway.config import Settings
from gateway.errors import DatabaseUnreachableError
from gateway.named_shards import with_shards_named

if TYPE_CHECKING:
    BareConnection = asyncpg.Connection[asyncpg.Record]
    Connection = BareConnection | PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:  # Generic for the type checker only.
    BareConnection = asyncpg.Connection
    Connection = BareConnection | PoolConnectionProxy
    Pool = asyncpg.Pool
Isolation = Literal["read_committed", "repeatable_read", "serializable"]

_LOCK_TIMEOUT_MS: Final = 10_000
_IDLE_TRANSACTION_TIMEOUT_MS: Final = 60_000
_QUERIES_PER_CONNECTION: Final = 50_000
_STATEMENTS: Final = 100  # asyncpg's own default
_IDLE_CONNECTION_SECONDS: Final = 300.0
UNREACHABLE: Final = (  # what says that no PostgreSQL serves us now
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.TooManyConnectionsError,
    asyncpg.TargetServerAttributeNotMatched,  # of several servers none is the primary
)
# Of these, what passes by itself when a server starts, recovers or changes over; FileNotFound: its socket.
_NOT_YET: Final = (
    ConnectionError,
    FileNotFoundError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TargetServerAttributeNotMatched,
)
# What a request or a round of a job may meet while a server fails over, is full, read-only or away.
TRANSIENT: Final = (
    DatabaseUnreachableError,
    ConnectionError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,  # class 57: shut down, crashed, cancelled by an operator
    asyncpg.InsufficientResourcesError,  # class 53: disk full, out of memory, too many connections
    asyncpg.ReadOnlySQLTransactionError,  # a standby, until the pool finds the new primary
    asyncpg.InvalidSQLStatementNameError,  # a prepared statement of the server that is gone
    asyncpg.InvalidCachedStatementError,  # its table has a new column: prepared anew at the next attempt
    asyncpg.InternalClientError,  # the connection broke between two messages
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.InterfaceError,
)
_RETRY_SECONDS: Final = 0.1


class UnitOfWork(Protocol):
    """What is done at both ends of every transaction of a request or command that has one."""

    async def begin(self, connection: Connection) -> None:
        """At the start of a transaction."""
        ...

    async def end(self, connection: Connection) -> None:
        """Before a transaction is committed."""
        ...


# Of the request or command that runs now; None, as on the way of a charging session: nothing is done.
UNIT_OF_WORK: Final[ContextVar[UnitOfWork | None]] = ContextVar("unit_of_work", default=None)
_FIELDS: Final[dict[type, tuple[str, ...]]] = {}


class FromRow:
    """A value whose fields are a row's columns."""

    __slots__ = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Build the value from a row that has a column for each field."""
        names = _FIELDS.get(cls)
        if names is None:
            names = _FIELDS[cls] = tuple(field.name for field in fields(cls))  # type: ignore[arg-type]
        return cls(**{name: row[name] for name in names})


class _PlainConnection(asyncpg.Connection):
    """A pooled connection that is handed on without a round trip.

    Nothing here keeps state in a session: no setting outside a transaction, no session lock, no cursor, no
    LISTEN. An open transaction is rolled back all the same.
    """

    @override
    def get_reset_query(self) -> str:
        return ""


class _ConnectionByShard(_PlainConnection):
    """To a distributed database: what names rows of several shards is sent to those shards alone."""

    @override
    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        return await super().fetch(with_shards_named(query), *args, **options)

    @override
    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        return await super().fetchrow(with_shards_named(query), *args, **options)

    @override
    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        return await super().execute(with_shards_named(query), *args, **options)


class _BoundedPool(asyncpg.Pool):
    """A pool that lets nobody wait for a connection without end, and knows what its database is."""

    distributed = False

    def __init__(self, *arguments: Any, acquire_timeout_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._acquire_timeout_seconds = acquire_timeout_seconds

    @override
    def acquire(self, *, timeout: float | None = None) -> Any:
        """A connection, or TimeoutError: all were in use for so long. One that is idle needs no timer."""
        if timeout is None and not self.get_idle_size():
            timeout = self._acquire_timeout_seconds
        return super().acquire(timeout=timeout)


_T = TypeVar("_T")
_encoder: Final = msgspec.json.Encoder(decimal_format="number")
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)


async def create_pool(
    dsn: str,
    *,
    min_size: int = 2,
    max_size: int = 10,
    application: str = "networkcore",
    connect_timeout_seconds: float = 10.0,
    statement_timeout_ms: int = 30_000,
    acquire_timeout_seconds: float = 30.0,
    wait_seconds: float = 0.0,
    session_settings: bool = True,
    statement_cache_size: int = _STATEMENTS,
    setup: Callable[[Connection], Awaitable[None]] | None = None,
) -> Pool:
    """Return an open pool; the caller closes it. `setup` is run on a connection each time it is handed out.

    A server that is starting, recovering or not up yet is tried again for `wait_seconds`. Who waits for a
    connection longer than `acquire_timeout_seconds` gets TimeoutError. Without `session_settings` the role
    must have the timeouts (docs/operations/pooler.md).

    Raises:
        DatabaseUnreachableError: no PostgreSQL answers at `dsn` or it rejects us; the password is never
            repeated.
    """

    async def open_pool(connection_class: type[_PlainConnection] = _PlainConnection) -> Pool:
        pool = await _BoundedPool(
            dsn,
            acquire_timeout_seconds=acquire_timeout_seconds,
            min_size=min_size,
            max_size=max_size,
            max_queries=_QUERIES_PER_CONNECTION,
            max_inactive_connection_lifetime=_IDLE_CONNECTION_SECONDS,
            loop=None,
            timeout=connect_timeout_seconds,
            connection_class=connection_class,
            record_class=asyncpg.Record,
            command_timeout=statement_timeout_ms / 1000 + 5,
            init=register_json,
            setup=setup,
            statement_cache_size=statement_cache_size,
            server_settings=_server_settings(
                application=application, statement_timeout_ms=statement_timeout_ms
            )
            if session_settings
            else {"application_name": application},
        )
        try:
            pool.distributed = await named_queries("gateway", "database.sql").is_distributed(pool)
        except BaseException:
            pool.terminate()
            raise
        if pool.distributed and connection_class is _PlainConnection:
            await pool.close()
            return await open_pool(_ConnectionByShard)
        return pool

    return await _patiently(open_pool, dsn=dsn, wait_seconds=wait_seconds)


def is_distributed(pool: Pool) -> bool:
    """Whether its database distributes by shard (Citus); asked once, when the pool was opened."""
    return isinstance(pool, _BoundedPool) and pool.distributed


async def create_pool_from(settings: Settings, *, application: str) -> Pool:
    """Return an open pool as the settings describe, waiting for a server that starts; errors as above."""
    return await create_pool(
        settings.database_url.get_secret_value(),
        min_size=settings.database_pool_min,
        max_size=settings.database_pool_max,
        application=application,
        connect_timeout_seconds=settings.database_connect_timeout_seconds,
        statement_timeout_ms=settings.database_statement_timeout_ms,
        acquire_timeout_seconds=settings.request_timeout_seconds,
        wait_seconds=settings.database_connect_timeout_seconds,
        session_settings=settings.database_session_settings,
        statement_cache_size=settings.database_statement_cache_size,
    )


@asynccontextmanager
async def connect(
    dsn: str,
    *,
    application: str = "networkcore",
    statement_timeout_ms: int = 30_000,
    wait_seconds: float = 0.0,
) -> AsyncIterator[BareConnection]:
    """Give one connection for a command's length; `statement_timeout_ms` 0 means none.

    A server that is starting, recovering or not up yet is tried again for `wait_seconds`.

    Raises:
        DatabaseUnreachableError: no PostgreSQL answers at `dsn` or it rejects us.
    """

    async def open_connection() -> BareConnection:
        return await asyncpg.connect(
            dsn,
            timeout=10.0,
            server_settings=_server_settings(
                application=application, statement_timeout_ms=statement_timeout_ms
            ),
        )

    connection = await _patiently(open_connection, dsn=dsn, wait_seconds=wait_seconds)
    try:
        await register_json(connection)
        yield connection
    finally:
        await connection.close(timeout=5.0)


@asynccontextmanager
async def transaction(pool: Pool, *, isolation: Isolation = "read_committed") -> AsyncIterator[Connection]:
    """Give a connection in a transaction: committed at the end of the block, rolled back when it raises."""
    unit_of_work = UNIT_OF_WORK.get()
    async with pool.acquire() as connection, connection.transaction(isolation=isolation):
        if unit_of_work is None:
            yield connection
            return
        await unit_of_work.begin(connection)
        yield connection
        await unit_of_work.end(connection)


async def register_json(connection: Connection) -> None:
    """Teach a connection to read and write json and jsonb as Python values, exactly."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=encode_json, decoder=decode_json)


def encode_json(value: Any) -> str:
    """Return `value` as JSON text; Decimal as a number, with every digit it has."""
    return _encoder.encode(value).decode("utf-8")


def decode_json(text: str) -> Any:
    """Return the value of JSON text; a number with a fraction or exponent as Decimal."""
    return _decoder.decode(text)


class _DirectAdapter(AsyncPGAdapter):
    """aiosql's adapter that does not ask at every call whether it got a pool: asyncpg answers for both."""

    def _ordered(self, query: str, parameters: Any) -> list[Any]:
        ordered: list[Any] = self.maybe_order_params(query, parameters)  # type: ignore[no-untyped-call]
        return ordered

    @override
    async def select(
        self, conn: Any, query_name: str, sql: str, parameters: Any, record_class: Any = None
    ) -> AsyncIterator[Any]:
        for record in await conn.fetch(sql, *self._ordered(query_name, parameters)):
            yield record if record_class is None else record_class(**record)

    @override
    async def select_one(
        self, conn: Any, query_name: str, sql: str, parameters: Any, record_class: Any = None
    ) -> Any:
        record = await conn.fetchrow(sql, *self._ordered(query_name, parameters))
        return record if record is None or record_class is None else record_class(**record)

    @override
    async def select_value(self, conn: Any, query_name: str, sql: str, parameters: Any) -> Any:
        return await conn.fetchval(sql, *self._ordered(query_name, parameters))

    @override
    async def insert_update_delete(self, conn: Any, query_name: str, sql: str, parameters: Any) -> Any:
        return await conn.execute(sql, *self._ordered(query_name, parameters))


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedStatement:
    """A named query as its text, and the order of its parameters in it."""

    name: str
    sql: str
    parameters: Sequence[str]

    def arguments(self, fields: Mapping[str, Any]) -> list[Any]:
        """The values of the parameters in the statement's order."""
        return [fields[name] for name in self.parameters]


def named_statement(queries: Any, name: str) -> NamedStatement:
    """One of the queries that `named_queries` has read, for callers that run it in another way."""
    parameters = tuple(queries.driver_adapter.var_sorted[name])
    return NamedStatement(name=name, sql=getattr(queries, name).sql, parameters=parameters)


@cache
def named_queries(package: str, file: str) -> Any:
    """Return the queries of `<package>/sql/<file>` as asynchronous methods named as in the file (aiosql).

    Example: `_sql = named_queries("gateway", "payments.sql")`, then `await _sql.lock_payment(connection,
        id=...)`.

    Raises:
        FileNotFoundError: the package has no such file.
    """
    with as_file(files(package) / "sql" / file) as path:
        if not path.is_file():
            raise FileNotFoundError(f"{package} has no queries in {path}")
        return aiosql.from_path(
            path, cast("Any", _DirectAdapter), mandatory_parameters=False, encoding="utf-8"
        )


def _server_settings(*, application: str, statement_timeout_ms: int) -> dict[str, str]:
    return {
        "application_name": application,
        "timezone": "UTC",
        "statement_timeout": str(statement_timeout_ms),
        "lock_timeout": str(_LOCK_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(_IDLE_TRANSACTION_TIMEOUT_MS),
        "search_path": "pg_catalog",
    }


async def close_pool(pool: Pool) -> None:
    """Close a pool; connections that stay busy for five seconds are cut."""
    try:
        await asyncio.wait_for(pool.close(), timeout=5.0)
    except TimeoutError:
        pool.terminate()


async def _patiently(open_it: Callable[[], Awaitable[_T]], *, dsn: str, wait_seconds: float) -> _T:
    """Return what `open_it` opens; try again while the server is only not there yet."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_seconds
    while True:
        try:
            return await open_it()
        except UNREACHABLE as error:
            if not isinstance(error, _NOT_YET) or loop.time() >= deadline:
                raise _unreachable(dsn, error) from error
        await asyncio.sleep(_RETRY_SECONDS)


def _unreachable(dsn: str, error: Exception) -> DatabaseUnreachableError:
    """Name the place without its credentials."""
    try:
        parts = urlsplit(dsn)
        servers = parts.netloc.rpartition("@")[2].replace(",", ", ")
        place = f"{servers or 'the local socket'}{parts.path}"
    except ValueError:
        place = "the given address"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DatabaseUnreachableError(
        f"cannot connect to PostgreSQL at {place}: {reason}; is it running, and is DATABASE_URL right?"
    )
