"""Bank messages and payment files, for an operator without a directory between the worker and the bank.

Owns: the transaction of each, and the events of what a message changed. Must not know: HTTP, who may ask,
what a message changes, how a file is made.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from clearing.bank_transfers import record_service
from clearing.bank_transfers.bank_message import BankMessage, MessageState
from clearing.bank_transfers.message_importer import ImportedMessage
from clearing.bank_transfers.payment_file import ListedFile, RecordedFile
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.errors import RecordNotFoundError
from gateway.partners.principals import principal_transaction
from gateway.webhooks import payout_events

_NAME = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankMessageService:
    """Raises RecordNotFoundError where there is no such payment file."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def import_message(self, content: bytes, *, key: str) -> ImportedMessage:
        """Import a pain.002, camt.053 or camt.054; the same bytes again change nothing.

        A message that can't be applied is recorded as rejected, with the reason. `key`: the API key that
        asks.
        """
        now = self.clock.now()
        async with principal_transaction(self.pool, key=key) as (connection, by):
            imported = await self.clearing.bank_messages.import_message(
                connection, lambda: io.BytesIO(content), name=_NAME, reported_by=by, now=now
            )
            await payout_events.record_imported_message(connection, imported, now=now)
        return imported

    async def list_messages(
        self, *, state: MessageState | None, before: str | None, limit: int
    ) -> Sequence[BankMessage]:
        """The bank's messages, the latest first, those older than `before`."""
        async with self.pool.acquire() as connection:
            return await record_service.list_messages(connection, state=state, before=before, limit=limit)

    async def list_files(self, *, before: str | None, limit: int) -> Sequence[ListedFile]:
        """Payment files, the latest first, those older than `before`."""
        async with self.pool.acquire() as connection:
            return await record_service.list_files(connection, before=before, limit=limit)

    async def get_file(self, message_id: str) -> RecordedFile:
        """One payment file with its bytes, as recorded."""
        async with self.pool.acquire() as connection:
            return await _file(connection, message_id)

    async def mark_sent(self, message_id: str) -> None:
        """Record that a person has sent the file to the bank: no worker writes it into the outbox."""
        async with transaction(self.pool) as connection:
            found = await _file(connection, message_id)
            await record_service.mark_sent(connection, found.message_id, now=self.clock.now())


async def _file(connection: Connection, message_id: str) -> RecordedFile:
    found = await record_service.find_file(connection, message_id)
    if found is None:
        raise RecordNotFoundError("There is no such payment file")
    return found
