"""Brings the schemas forward: each package's numbered files, once, in order, by any number of processes.

Owns the table `<schema>.migration` of each package and the order of files. Must not know what a file does.

Files are `<package>/sql/migrations/NNNN_name.sql`. There is no way back: a mistake is corrected by the next
file. Each file runs in a transaction of its own together with its record. One advisory lock covers a whole
run, so processes that start at once wait for the first. An applied file that changed, vanished, or was
overtaken by a later number is rejected. Files newer than this program are left alone: an older process may
restart during an upgrade.
"""

import hashlib
import re
from collections.abc import Sequence
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

PACKAGES: Final = ("clearing", "pnc", "gateway")
_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z][a-z0-9_]*)\.sql")
_TRANSACTION_CONTROL: Final = re.compile(
    r"^\s*(begin|commit|rollback|start\s+transaction)\b\s*(transaction|work)?\s*;",
    re.IGNORECASE | re.MULTILINE,
)
_LOCK_WAIT_MS: Final = 120_000
_LOCK_KEY: Final = int.from_bytes(hashlib.sha256(b"networkcore migrations").digest()[:8], "big", signed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered file of one package; its schema bears the package's name."""

    package: str
    version: int
    name: str
    sql: str
    sha256: str

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
    return [found[version] for version in sorted(found)]


async def migrate(
    dsn: str, *, migrations: Sequence[Migration] | None = None, wait_seconds: float = 10.0
) -> list[Migration]:
    """Apply what is missing and return it, in the order applied; an empty list when nothing was.

    A server that is starting, recovering or not up yet is tried again for `wait_seconds`.

    Raises:
        MigrationError: the files and the database disagree, a file failed (nothing of it remains), or another
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
            await _create_record(connection, package)
        for migration in _missing(wanted, await _records(connection, wanted)):
            await _apply(connection, migration)
            applied.append(migration)
        async with connection.transaction():
            await acts_repository.watch_tables(connection, WATCHED)
            await database_roles.grant_access(connection)
        return applied


async def list_pending(dsn: str, *, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Return what `migrate` would apply; changes nothing and locks nothing. Errors as `migrate`."""
    wanted = load_migrations() if migrations is None else list(migrations)
    async with connect(dsn, application="networkcore migrate") as connection:
        return _missing(wanted, await _records(connection, wanted))


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
    await connection.execute(f"SET lock_timeout = {_LOCK_WAIT_MS}")
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)
    except asyncpg.LockNotAvailableError:
        raise MigrationError(
            f"another process has been migrating for {_LOCK_WAIT_MS // 1000} s; check it, then start again"
        ) from None


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


async def _apply(connection: BareConnection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await Act(operation=f"migrate {migration}").begin(connection)
            await connection.execute(migration.sql)
            await acts_repository.watch_tables(connection, RECORDS_OF_MIGRATIONS)
            await connection.execute(
                f"INSERT INTO {migration.package}.migration (version, name, sha256) VALUES ($1, $2, $3)",  # noqa: S608 - our own names
                migration.version,
                migration.name,
                migration.sha256,
            )
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration} failed, nothing of it remains: {error}") from error
