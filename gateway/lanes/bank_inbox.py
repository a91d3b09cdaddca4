"""The bank's messages from a directory: status reports and statements, each worked in once, then put away.

Owns: when a file is whole, and where it goes afterwards. Must not know what a message says. A file counts as
whole when its size and time have not changed between two looks; names that begin with a dot or end like a
transfer under way are left alone. It is moved to `working/`, worked in by one transaction, and moved to
`done/`, or to `failed/` beside a `.reason`. Whoever dies in between leaves it in `working/`, where the next
round finds it: what was worked in is known by its bytes.
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

from clearing.desks.bank_intake import BankIntake, TakenMessage
from clearing.iso20022.reading import MAX_BYTES
from clearing.service import ClearingService
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.lanes import payout_news

_log = structlog.get_logger(__name__)
_WORKING: Final = "working"
_DONE: Final = "done"
_FAILED: Final = "failed"
_UNDER_WAY: Final = (".part", ".tmp", ".temp", ".filepart", ".writing")
_NAME: Final = 200  # with a suffix it is still a name that any file system takes
_LOOKED_AT: Final = 1000  # in one round
_LATE: Final = timedelta(minutes=10)
_FIRST_WAIT: Final = timedelta(seconds=30)
_LONGEST_WAIT: Final = timedelta(hours=1)
_ONLY_OURS: Final = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a look found: a file that stays the same is whole."""

    size: int
    changed_ns: int


class Inbox:
    """The directory and its three drawers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def open(self) -> None:
        """Make the drawers. Raises OSError."""
        for drawer in (_WORKING, _DONE, _FAILED):
            (self.directory / drawer).mkdir(mode=_ONLY_OURS, exist_ok=True)

    def look(self) -> dict[str, _Seen]:
        """Regular files that may be whole, the oldest first."""
        found: list[tuple[int, str, _Seen]] = []
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower().endswith(_UNDER_WAY):
                    continue
                told = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(told.st_mode):
                    seen = _Seen(size=told.st_size, changed_ns=told.st_mtime_ns)
                    found.append((told.st_mtime_ns, entry.name, seen))
        return {name: seen for _, name, seen in sorted(found, key=lambda one: one[:2])[:_LOOKED_AT]}

    def take(self, name: str) -> None:
        """Move a whole file to where it is worked on; one that another worker took is gone already."""
        self._move(self.directory / name, _WORKING)

    def taken(self) -> list[Path]:
        """Files that are being worked on, by name; also those of a worker that died."""
        return sorted(path for path in (self.directory / _WORKING).iterdir() if path.is_file())[:_LOOKED_AT]

    def put_away(self, path: Path, *, refused: str | None) -> None:
        """Out of the way for good, with the reason beside it where it was refused."""
        if refused is None:
            self._move(path, _DONE)
            return
        kept = self._move(path, _FAILED)
        if kept is not None:
            kept.with_name(f"{kept.name[:_NAME]}.reason").write_text(f"{refused}\n", encoding="utf-8")

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
class BankInboxLane:
    """Looks into the inbox every `every` of wall time and works in what is whole."""

    pool: Pool
    clock: Clock
    clearing: ClearingService
    inbox: Inbox
    every: timedelta = timedelta(seconds=5)
    name: str = "bank inbox"
    _next: datetime | None = field(default=None)
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _later: dict[str, tuple[datetime, timedelta]] = field(default_factory=dict)

    async def run_once(self) -> int:
        """A round where it is time. Returns how many messages were worked in or refused."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        self._next = wall + self.every
        await self._take_whole()
        done = 0
        for path in await asyncio.to_thread(self.inbox.taken):
            due = self._later.get(path.name)
            if due is None or due[0] <= wall:
                done += await self._work_in(path, wall=wall)
        return done

    async def _take_whole(self) -> None:
        now = await asyncio.to_thread(self.inbox.look)
        for name, seen in now.items():
            if self._seen.get(name) == seen:
                try:
                    await asyncio.to_thread(self.inbox.take, name)
                except OSError as error:  # a file of somebody else's, a name too long: the others go on
                    _log.error("bank_message_not_moved", file=_shown(Path(name)), error=error.strerror)
        self._seen = now

    async def _work_in(self, path: Path, *, wall: datetime) -> bool:
        """Whether it was dealt with. One that can't be for now is tried again later, less and less often."""
        try:
            refused = await self._refused(path)
            await asyncio.to_thread(self.inbox.put_away, path, refused=refused)
        except FileNotFoundError:  # another worker was quicker
            return False
        except Exception:  # noqa: BLE001 - the boundary of one message: the others must go on
            _, waited = self._later.get(path.name, (wall, _FIRST_WAIT / 2))
            wait = min(waited * 2, _LONGEST_WAIT)
            self._later[path.name] = (wall + wait, wait)
            _log.exception("bank_message_not_taken", file=_shown(path))
            return False
        self._later.pop(path.name, None)
        if refused is not None:
            _log.error("bank_message_refused", file=_shown(path), reason=refused)
        return True

    async def _refused(self, path: Path) -> str | None:
        """Work a file in; why it was refused, or None."""
        told = await asyncio.to_thread(path.stat, follow_symlinks=False)
        if told.st_size > MAX_BYTES:
            return f"is larger than {MAX_BYTES} bytes"
        taken = await take_message(
            self.pool,
            BankIntake(self.clearing),
            path,
            told_by="inbox",
            now=self.clock.now(),
        )
        message = taken.message
        _log.info(
            "bank_message", file=message.name, kind=message.kind, state=message.state,
            settled=message.settled, rejected=message.rejected, returned=message.returned,
            new_lines=message.new_lines, repeated=taken.repeated,
        )  # fmt: skip
        return message.reason


def _shown(path: Path) -> str:
    """A file's name as text, whatever bytes the directory holds."""
    return path.name.encode("utf-8", "replace").decode("utf-8")


async def take_message(
    pool: Pool, intake: BankIntake, path: Path, *, told_by: str, now: datetime
) -> TakenMessage:
    """Work one file in, with its events, in a transaction of its own."""

    def opened() -> IO[bytes]:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")

    async with transaction(pool) as connection:
        taken = await intake.take(connection, opened, name=path.name, told_by=told_by, now=now)
        await payout_news.record_taken(connection, taken, now=now)
    return taken


def unread(directory: Path, *, wall_now: datetime) -> Sequence[str]:
    """Messages that lie in an inbox for more than ten minutes, by name: does a worker run?"""
    found = []
    for place in (directory, directory / _WORKING):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.is_file() and not path.name.startswith("."):
                changed = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
                found += [_shown(path)] if changed < wall_now - _LATE else []
    return found
