"""Brings the schemas forward: each package's numbered files, once, in order, by any number of processes.

Owns the table `<schema>.migration` of each package and the order of files. Must not know what a file does.

Files are `<package>/sql/migrations/NNNN_name.sql`. There is no way back: a mistake is corrected by the next
file. Each file runs in a transaction of its own together with its record, or, as its first line says, outside
one (migration_steps.py). One advisory lock covers a whole run, so processes that start at once wait for the
first. Only this may take long: a statement that waits for a table's lock gives up after two seconds, because
every request queues behind it, and is tried again. An applied file that changed, vanished, or was overtaken
by a later number is rejected. Files newer than this program are left alone: an older process may restart
during an upgrade.
"""

import asyncio
import hashlib
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

import asyncpg
from typing_extensions import override

from gateway import database_roles
from gateway.acts import repository as acts_repository
from gateway.acts.act import Act
from gateway.acts.tables import RECORDS_OF_MIGRATIONS, WATCHED
from gateway.database import BareConnection, connect
from gateway.errors import MigrationError
from gateway.migration_steps import MigrationStep, StepKind, read_steps, runs_outside

PACKAGES: Final = ("clearing", "pnc", "gateway")
_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z][a-z0-9_]*)\.sql")
_TRANSACTION_CONTROL: Final = re.compile(
    r"^\s*(begin|commit|rollback|start\s+transaction)\b\s*(transaction|work)?\s*;",
    re.IGNORECASE | re.MULTILINE,
)
_LOCK_WAIT_SECONDS: Final = 120.0
_LOCK_POLL_SECONDS: Final = 0.2
# A table's lock: every request queues behind who waits for it. With its rests this is tried for five minutes.
_TABLE_LOCK_MS: Final = 2_000
_ATTEMPTS: Final = 60
_LEAST_REST_SECONDS: Final = 1.0
_MOST_REST_SECONDS: Final = 5.0
# What waits outside a transaction holds up no request; PostgreSQL waits for transactions older than an index.
_STEP_LOCK_MS: Final = 600_000
_random: Final = random.SystemRandom()
_OLDEST_SERVER: Final = 160000
_SERVER_WITH_UUIDV7: Final = 180000
# RFC 9562 section 5.7: 48 bits of milliseconds, the version, random bits, the variant.
_UUIDV7: Final = """
CREATE SCHEMA IF NOT EXISTS gateway;
CREATE OR REPLACE FUNCTION gateway.uuidv7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send(
        floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid
$$;
SET search_path = pg_catalog, gateway;
"""
_LOCK_KEY: Final = int.from_bytes(hashlib.sha256(b"networkcore migrations").digest()[:8], "big", signed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered file of one package; its schema bears the package's name."""

    package: str
    version: int
    name: str
    sql: str
    sha256: str

    @property
    def steps(self) -> list[MigrationStep]:
        """The statements of a file that runs outside a transaction; none where it runs in one.

        Raises:
            MigrationError: one of them can't be repeated.
        """
        return read_steps(self.sql, file=str(self)) if runs_outside(self.sql) else []

    @override
    def __str__(self) -> str:
        return f"{self.package}/{self.version:04d}_{self.name}"


def load_migrations(packages: Sequence[str] = PACKAGES) -> list[Migration]:
    """Return the packages' migrations, package by package, in order of their numbers.

    Raises:
        MigrationError: a file's name has another form, two share a number, or one controls transactions.
    """
    return [
        migration
        for package in packages
        for migration in read_migrations(package, files(package) / "sql" / "migrations")
    ]


def read_migrations(package: str, folder: Traversable) -> list[Migration]:
    """Return the migrations in one folder, in order of their numbers; none when there is no folder.

    Raises:
        MigrationError: as `load_migrations`.
    """
    if not folder.is_dir():
        return []
    found: dict[int, Migration] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not entry.name.endswith(".sql"):
            continue
        match = _FILE_NAME.fullmatch(entry.name)
        if match is None:
            raise MigrationError(f"{package}: {entry.name} is not named NNNN_name.sql")
        sql = entry.read_text(encoding="utf-8").replace("\r\n", "\n")
        version, name = int(match[1]), match[2]
        if version in found:
            raise MigrationError(f"{package}: {entry.name} and {found[version]} share a number")
        if _TRANSACTION_CONTROL.search(sql):
            raise MigrationError(
                f"{package}: {entry.name} controls transactions; each file already runs in one"
            )
        digest = hashlib.sha256(sql.encode("utf-8")).hexdigest()
        found[version] = Migration(package=package, version=version, name=name, sql=sql, sha256=digest)
        _ = found[version].steps
    return [found[version] for version in sorted(found)]


async def migrate(
    dsn: str,
    *,
    migrations: Sequence[Migration] | None = None,
    wait_seconds: float = 10.0,
    attempts: int = _ATTEMPTS,
) -> list[Migration]:
    """Apply what is missing and return it, in the order applied; an empty list when nothing was.

    A server that is starting, recovering or not up yet is tried again for `wait_seconds`. `attempts`: how
    often a file is tried whose table others have locked.

    Raises:
        MigrationError: the files and the database disagree, a file failed (nothing of it remains, or outside
            a transaction nothing that another run would not repeat), a table stayed locked, or another
            process held the lock for two minutes.
        DatabaseUnreachableError: no PostgreSQL answers at `dsn`.
    """
    wanted = load_migrations() if migrations is None else list(migrations)
    async with connect(
        dsn, application="networkcore migrate", statement_timeout_ms=0, wait_seconds=wait_seconds
    ) as connection:
        if not await _has_to_migrate(connection, wanted):
            return []
        await _lock(connection)
        applied = []
        # The lock ends with the connection, also when this process is killed.
        for package in dict.fromkeys(migration.package for migration in wanted):
            if await connection.fetchval("SELECT to_regclass($1)", f"{package}.migration") is None:
                await _create_record(connection, package)
        if missing := _missing(wanted, await _records(connection, wanted)):
            await _adapt(connection)
        for migration in missing:
            await _apply(connection, migration, attempts=attempts)
            applied.append(migration)
        await _giving_way(lambda: _set_up(connection), what="the record of acts", attempts=attempts)
        return applied


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaVersion:
    """The database's schema beside this program's: what it lacks, and what it has that is unknown here."""

    pending: Sequence[Migration]
    unknown: Sequence[str]

    @property
    def summary(self) -> str:
        """Older, newer or the same, and by how many migrations."""
        if self.pending:
            return f"the database is older than this program by {_migrations(len(self.pending))}"
        if self.unknown:
            return f"the database is newer than this program by {_migrations(len(self.unknown))}"
        return "the database is the same as this program, nothing pending"


async def compare_schema(dsn: str, *, migrations: Sequence[Migration] | None = None) -> SchemaVersion:
    """Compare the database's schema with this program's; changes and locks nothing. Errors as `migrate`."""
    wanted = load_migrations() if migrations is None else list(migrations)
    known = {(migration.package, migration.version) for migration in wanted}
    async with connect(dsn, application="networkcore migrate") as connection:
        records = await _records(connection, wanted)
    return SchemaVersion(
        pending=_missing(wanted, records),
        unknown=[
            f"{package}/{version:04d}_{record['name']}"
            for (package, version), record in sorted(records.items())
            if (package, version) not in known
        ],
    )


async def list_pending(dsn: str, *, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Return what `migrate` would apply; changes nothing and locks nothing. Errors as `migrate`."""
    return list((await compare_schema(dsn, migrations=migrations)).pending)


async def _has_to_migrate(connection: BareConnection, wanted: Sequence[Migration]) -> bool:
    """Whether there is anything to do; a role that runs the product may do none of it, and need not.

    Raises:
        MigrationError: migrations are pending, and this role may not apply them.
    """
    records = await _records(connection, wanted)
    if not records or await database_roles.may_migrate(connection):
        return True
    if pending := _missing(wanted, records):
        raise MigrationError(
            f"{len(pending)} migrations are pending, from {pending[0]} on, and this role of the database may "
            "not apply them; run networkcore migrate with the owner's DATABASE_URL"
        )
    return False


async def _lock(connection: BareConnection) -> None:
    """Take the lock of all runs.

    Polled: a statement that waits has a snapshot, and an index that the lock's holder makes concurrently
    would wait for it.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LOCK_WAIT_SECONDS
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
        if loop.time() >= deadline:
            raise MigrationError(
                f"another process has been migrating for {_LOCK_WAIT_SECONDS:g} s; check it, then start again"
            )
        await asyncio.sleep(_LOCK_POLL_SECONDS * _random.uniform(0.5, 1.5))


def check_server(version: int) -> None:
    """Reject a server that is too old, by its `server_version_num`. Raises MigrationError."""
    if version < _OLDEST_SERVER:
        raise MigrationError(
            f"this is PostgreSQL {version // 10_000}; {_OLDEST_SERVER // 10_000} to 18 are supported"
        )


async def _adapt(connection: BareConnection) -> None:
    """Give a server before PostgreSQL 18 what migrations use of it; one before 16 is rejected."""
    version = int(await connection.fetchval("SELECT current_setting('server_version_num')"))
    check_server(version)
    if version < _SERVER_WITH_UUIDV7:
        await connection.execute(_UUIDV7)


async def _create_record(connection: BareConnection, package: str) -> None:
    """Create the package's schema and its record; package names are our own constants."""
    await connection.execute(
        f"""
        CREATE SCHEMA IF NOT EXISTS {package};
        CREATE TABLE IF NOT EXISTS {package}.migration (
            version    integer     PRIMARY KEY CHECK (version > 0),
            name       text        NOT NULL,
            sha256     char(64)    NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
        """
    )


async def _records(connection: BareConnection, wanted: Sequence[Migration]) -> dict[tuple[str, int], Any]:
    """Return name and digest of each applied migration by (package, version)."""
    found: dict[tuple[str, int], Any] = {}
    for package in dict.fromkeys(migration.package for migration in wanted):
        if await connection.fetchval("SELECT to_regclass($1)", f"{package}.migration") is None:
            continue
        rows = await connection.fetch(f"SELECT version, name, sha256 FROM {package}.migration")  # noqa: S608 - our own names
        found |= {(package, row["version"]): row for row in rows}
    return found


def _missing(wanted: Sequence[Migration], applied: dict[tuple[str, int], Any]) -> list[Migration]:
    """Return the migrations that are not applied; reject a history that is not the files' history."""
    latest = dict(sorted(applied))
    known = {(migration.package, migration.version) for migration in wanted}
    newest = {migration.package: migration.version for migration in wanted}
    for package, version in applied:
        if (package, version) not in known and version < newest.get(package, 0):
            raise MigrationError(
                f"{package}/{version:04d} is applied and its file is missing; restore the file"
            )
    missing = []
    for migration in wanted:
        record = applied.get((migration.package, migration.version))
        if record is None:
            if migration.version < latest.get(migration.package, 0):
                raise MigrationError(
                    f"{migration} comes before what is applied; give it the next free number"
                )
            missing.append(migration)
        elif record["sha256"] != migration.sha256 or record["name"] != migration.name:
            raise MigrationError(
                f"{migration} was changed after it was applied; restore it and add a new file"
            )
    return missing


async def _apply(connection: BareConnection, migration: Migration, *, attempts: int) -> None:
    """Apply one file."""
    steps = migration.steps
    try:
        if steps:
            await _giving_way(
                lambda: _apply_outside(connection, migration, steps), what=str(migration), attempts=attempts
            )
        else:
            await _giving_way(
                lambda: _apply_inside(connection, migration), what=str(migration), attempts=attempts
            )
    except asyncpg.PostgresError as error:
        remains = "what it has done is kept and not done again" if steps else "nothing of it remains"
        raise MigrationError(f"{migration} failed, {remains}: {error}") from error


async def _giving_way(work: Callable[[], Awaitable[None]], *, what: str, attempts: int) -> None:
    """Do it; who has a table of it locked is given way to, again and again. Raises MigrationError."""
    for attempt in range(1, attempts + 1):
        try:
            await work()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            if attempt == attempts:
                raise MigrationError(
                    f"{what} was tried {attempts} times, and others had its tables locked; end long "
                    "transactions (pg_stat_activity), then start again"
                ) from error
            await asyncio.sleep(_random.uniform(_LEAST_REST_SECONDS, _MOST_REST_SECONDS))
        else:
            return


async def _set_up(connection: BareConnection) -> None:
    """Have acts recorded, and both roles granted what they need."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {_TABLE_LOCK_MS}")
        await acts_repository.watch_tables(connection, WATCHED)
        await database_roles.grant_access(connection)


async def _apply_inside(connection: BareConnection, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {_TABLE_LOCK_MS}")
        await Act(operation=f"migrate {migration}").begin(connection)
        await connection.execute(migration.sql)
        await _record(connection, migration)


async def _apply_outside(
    connection: BareConnection, migration: Migration, steps: Sequence[MigrationStep]
) -> None:
    await connection.execute(f"SET lock_timeout = {_STEP_LOCK_MS}")
    for step in steps:
        match step.kind:
            case StepKind.CREATE_INDEX:
                await _create_index(connection, step)
            case StepKind.ONCE:
                await connection.execute(step.sql)
            case StepKind.BATCHES:
                changed = True
                while changed:
                    changed = not (await connection.execute(step.sql)).endswith(" 0")
    async with connection.transaction():
        await Act(operation=f"migrate {migration}").begin(connection)
        await _record(connection, migration)


async def _create_index(connection: BareConnection, step: MigrationStep) -> None:
    """Make an index concurrently; one that an earlier run left invalid is dropped first."""
    valid = await connection.fetchval(
        """
        SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2
        """,
        step.schema,
        step.index,
    )
    if valid:
        return
    if valid is False:
        await connection.execute(f'DROP INDEX CONCURRENTLY "{step.schema}"."{step.index}"')
    await connection.execute(step.sql)


async def _record(connection: BareConnection, migration: Migration) -> None:
    await acts_repository.watch_tables(connection, RECORDS_OF_MIGRATIONS)
    await connection.execute(
        f"INSERT INTO {migration.package}.migration (version, name, sha256) VALUES ($1, $2, $3)",  # noqa: S608 - our own names
        migration.version,
        migration.name,
        migration.sha256,
    )


def _migrations(count: int) -> str:
    return f"{count} migration" + ("" if count == 1 else "s")
