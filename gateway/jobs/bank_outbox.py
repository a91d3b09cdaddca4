"""Payment files to the bank: created on bank days before the cut-off, put into a directory, marked as sent.

Owns: when a file is created, and how its bytes get into the directory. Must not know how it is made or what
fetches it from there. A file is recorded before a byte of it is written (docs/decisions/0701): whoever dies
in between leaves it unsent, and the next round writes the same bytes under the same name.
"""

import asyncio
import os
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from clearing.bank_transfers import record_service
from clearing.bank_transfers.payment_file import RecordedFile
from clearing.parties.bank_details import BankDetails
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.errors import GatewayError
from gateway.payouts.party_check_service import PartyCheckService
from gateway.webhooks import payout_events

_log = structlog.get_logger(__name__)
_FILES: Final = 100  # in one round
_ONLY_OURS: Final = 0o600


class OutboxConflictError(GatewayError):
    """A file of that name lies in the outbox with other bytes: nothing is overwritten."""


class Outbox:
    """A directory that a bank connection empties. A reader of it sees a whole file or none."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, name: str, content: bytes) -> None:
        """Put a file in place, durably; the same file again changes nothing. Raises OutboxConflictError."""
        target = self.directory / name
        if target.exists():
            if target.read_bytes() != content:
                raise OutboxConflictError(f"{target} exists with other bytes; move it away")
            return
        half = self.directory / f".{name}.part"
        self._write(half, content)
        self._show(half, target)

    def _write(self, half: Path, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(half, flags, _ONLY_OURS), "wb") as stream:
            os.fchmod(stream.fileno(), _ONLY_OURS)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())

    def _show(self, half: Path, target: Path) -> None:
        half.rename(target)
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@dataclass(slots=True, kw_only=True)
class BankOutboxJob:
    """Draws what is released and hands it over, every `every` of wall time.

    A payment is executed on the day on which it is created, so that nothing is created from the cut-off on.
    """

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    account: BankDetails
    outbox: Outbox
    cut_off: time
    zone: ZoneInfo
    checks: PartyCheckService | None = None  # None: parties are paid whatever their checks say
    every: timedelta = timedelta(minutes=1)
    name: str = "bank_outbox"
    _next: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """A round where it is time. Returns 0: a round is never followed at once by another."""
        wall = self.clock.wall_now()
        if self._next is None or wall >= self._next:
            self._next = wall + self.every
            await self.create_file()
            await self.send()
        return 0

    async def create_file(self) -> RecordedFile | None:
        """Record the file of what is released by now; None if nothing is, or it is too late in the day."""
        now = self.clock.now()
        local = now.astimezone(self.zone)
        if local.time() >= self.cut_off:
            return None
        if self.checks is not None:
            await self.checks.follow_all()
        transfers = self.clearing.bank_transfers(debtor=self.account)
        async with transaction(self.pool) as connection:
            result = await transfers.create_payment_file(connection, execution_date=local.date(), now=now)
            await payout_events.record_payment_file(connection, result, now=now)
        if result.file is not None:
            _log.info("payment_file_created", file=result.file.message_id, sha256=result.file.sha256)
        return result.file

    async def send(self) -> int:
        """Put every unsent file into the outbox and mark it as sent. Returns how many."""
        failed: list[str] = []
        sent = 0
        for _ in range(_FILES):
            async with transaction(self.pool) as connection:
                file = await record_service.find_unsent_file(connection, except_ids=failed)
                if file is None:
                    break
                if await self._put(file):
                    await record_service.mark_sent(connection, file.message_id, now=self.clock.now())
                    sent += 1
                else:
                    failed.append(file.message_id)
        return sent

    async def _put(self, file: RecordedFile) -> bool:
        """Whether the file lies in the outbox; one whose bytes are not those recorded is left to a person."""
        if sha256(file.content).hexdigest() != file.sha256:
            _log.error("payment_file_altered", file=file.message_id, recorded_sha256=file.sha256)
            return False
        try:
            await asyncio.to_thread(self.outbox.put, f"{file.message_id}.xml", file.content)
        except (OSError, OutboxConflictError) as error:
            _log.error("payment_file_not_written", file=file.message_id, error=str(error))
            return False
        _log.info("payment_file_sent", file=file.message_id, sha256=file.sha256)
        return True
