"""Bank messages from a directory: status reports and statements, each imported once, then filed.

Owns: when a file is whole, and where it goes afterwards. Must not know what a message says. A file counts as
whole when its size and time have not changed between two rounds; names that begin with a dot or end like an
unfinished transfer are skipped. It is moved to `working/`, imported in one transaction, and moved to `done/`,
or to `failed/` beside a `.reason`. After a crash it is still in `working/`, where the next round finds it: a
message that was imported is recognized by its bytes.
"""

import asyncio
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Final

import structlog

from clearing.bank_transfers.message_importer import BankMessageImporter, ImportedMessage
from clearing.iso20022.safe_xml import MAX_BYTES
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.failure_log import log_failure
from gateway.retry_policy import RetryPolicy
from gateway.webhooks import payout_events

_log = structlog.get_logger(__name__)
_WORKING: Final = "working"
_DONE: Final = "done"
_FAILED: Final = "failed"
_UNDER_WAY: Final = (".part", ".tmp", ".temp", ".filepart", ".writing")
_NAME: Final = 200  # with a suffix it is still a name that any file system accepts
_FILES_AT_ONCE: Final = 1000  # in one round
_LATE: Final = timedelta(minutes=10)
RETRY: Final = RetryPolicy.doubling(timedelta(seconds=30), longest=timedelta(hours=1))
_ONLY_OURS: Final = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A file as one round found it: one that stays the same is whole."""

    size: int
    changed_ns: int


class Inbox:
    """The directory and its three subdirectories."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def open(self) -> None:
        """Make the subdirectories. Raises OSError."""
        for subdirectory in (_WORKING, _DONE, _FAILED):
            (self.directory / subdirectory).mkdir(mode=_ONLY_OURS, exist_ok=True)

    def list_files(self) -> dict[str, _Seen]:
        """Regular files that may be whole, the oldest first."""
        found: list[tuple[int, str, _Seen]] = []
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower().endswith(_UNDER_WAY):
                    continue
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    seen = _Seen(size=status.st_size, changed_ns=status.st_mtime_ns)
                    found.append((status.st_mtime_ns, entry.name, seen))
        return {name: seen for _, name, seen in sorted(found, key=lambda one: one[:2])[:_FILES_AT_ONCE]}

    def move_to_working(self, name: str) -> None:
        """Move a whole file to where it is worked on; one that another worker moved is skipped."""
        self._move(self.directory / name, _WORKING)

    def list_working(self) -> list[Path]:
        """Files that are being worked on, by name; also those of a worker that died."""
        return sorted(path for path in (self.directory / _WORKING).iterdir() if path.is_file())[
            :_FILES_AT_ONCE
        ]

    def put_away(self, path: Path, *, rejected: str | None) -> None:
        """Out of the way for good, with the reason beside it where it was rejected."""
        if rejected is None:
            self._move(path, _DONE)
            return
        kept = self._move(path, _FAILED)
        if kept is not None:
            kept.with_name(f"{kept.name[:_NAME]}.reason").write_text(f"{rejected}\n", encoding="utf-8")

    def _move(self, path: Path, drawer: str) -> Path | None:
        target = self.directory / drawer / path.name
        number = 0
        while target.exists():
            number += 1
            target = self.directory / drawer / f"{path.name}.{number}"
        try:
            return path.rename(target)
        except FileNotFoundError:
            return None


@dataclass(slots=True, kw_only=True)
class BankInboxJob:
    """Reads the inbox every `every` of wall time and imports the files that are whole."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    inbox: Inbox
    every: timedelta = timedelta(seconds=5)
    name: str = "bank_inbox"
    _next: datetime | None = field(default=None)
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _later: dict[str, tuple[datetime, int]] = field(default_factory=dict)  # by name: when, and attempts

    async def run_once(self) -> int:
        """A round where it is time. Returns how many messages were imported or rejected."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        self._next = wall + self.every
        await self._move_whole_files()
        done = 0
        for path in await asyncio.to_thread(self.inbox.list_working):
            due = self._later.get(path.name)
            if due is None or due[0] <= wall:
                done += await self._import(path, wall=wall)
        return done

    async def _move_whole_files(self) -> None:
        now = await asyncio.to_thread(self.inbox.list_files)
        for name, seen in now.items():
            if self._seen.get(name) == seen:
                try:
                    await asyncio.to_thread(self.inbox.move_to_working, name)
                except OSError as error:  # a file of somebody else's, a name too long: the others go on
                    _log.error("bank_message_not_moved", file=_shown(Path(name)), error=error.strerror)
        self._seen = now

    async def _import(self, path: Path, *, wall: datetime) -> bool:
        """Import one file and file it. False: it is tried again later, at growing intervals."""
        try:
            rejected = await self._import_file(path)
            await asyncio.to_thread(self.inbox.put_away, path, rejected=rejected)
        except FileNotFoundError:  # another worker was quicker
            return False
        except Exception as error:  # noqa: BLE001 - the boundary of one message: the others must go on
            attempts = self._later.get(path.name, (wall, 0))[1] + 1
            self._later[path.name] = (RETRY.next_attempt_at(attempts, now=wall) or wall, attempts)
            log_failure(_log, "bank_message_not_imported", error, file=_shown(path))
            return False
        self._later.pop(path.name, None)
        if rejected is not None:
            _log.error("bank_message_rejected", file=_shown(path), reason=rejected)
        return True

    async def _import_file(self, path: Path) -> str | None:
        """Import a file. Returns why it was rejected, or None."""
        status = await asyncio.to_thread(path.stat, follow_symlinks=False)
        if status.st_size > MAX_BYTES:
            return f"is larger than {MAX_BYTES} bytes"
        imported = await import_file(
            self.pool,
            self.clearing.bank_messages,
            path,
            reported_by="inbox",
            now=self.clock.now(),
        )
        message = imported.message
        _log.info(
            "bank_message",
            file=message.name,
            kind=message.kind,
            state=message.state,
            settled=message.settled,
            rejected=message.rejected,
            returned=message.returned,
            new_lines=message.new_lines,
            repeated=imported.repeated,
        )
        return message.reason


def _shown(path: Path) -> str:
    """A file's name as text, whatever bytes the directory holds."""
    return path.name.encode("utf-8", "replace").decode("utf-8")


async def import_file(
    pool: Pool, importer: BankMessageImporter, path: Path, *, reported_by: str, now: datetime
) -> ImportedMessage:
    """Import one file, with its events, in a transaction of its own."""

    def opened() -> IO[bytes]:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")

    async with transaction(pool) as connection:
        imported = await importer.import_message(
            connection, opened, name=path.name, reported_by=reported_by, now=now
        )
        await payout_events.record_imported_message(connection, imported, now=now)
    return imported


def unread(directory: Path, *, wall_now: datetime) -> Sequence[str]:
    """Messages that lie in an inbox for more than ten minutes, by name: does a worker run?"""
    found = []
    for place in (directory, directory / _WORKING):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.is_file() and not path.name.startswith("."):
                changed = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
                found += [_shown(path)] if changed < wall_now - _LATE else []
    return found
