"""Recorded payment files and bank messages: listed, read, and marked as sent.

Owns: what the gateway reads and records of them. Must not know: how a file is made, what a message changes.
Every function takes the connection; none commits.
"""

from collections.abc import Sequence
from datetime import datetime

from clearing.bank_transfers import repository
from clearing.bank_transfers.bank_message import BankMessage, MessageState
from clearing.bank_transfers.payment_file import ListedFile, RecordedFile
from clearing.connection import Connection


async def find_unsent_file(connection: Connection, *, except_ids: Sequence[str] = ()) -> RecordedFile | None:
    """The oldest file that is not known to have reached the bank, locked until the transaction ends.

    Files in `except_ids` are skipped.
    """
    return await repository.lock_unsent_file(connection, except_ids=except_ids)


async def mark_sent(connection: Connection, message_id: str, *, now: datetime) -> None:
    """Record that the bank has the file."""
    await repository.mark_sent(connection, message_id, now=now)


async def mark_all_sent(connection: Connection, *, now: datetime) -> list[str]:
    """Record of every file that the bank may have it, so that none is sent again; returns their ids."""
    unsent = await repository.list_unsent(connection)
    for message_id in unsent:
        await repository.mark_sent(connection, message_id, now=now)
    return unsent


async def list_unknown_files(connection: Connection, message_ids: Sequence[str]) -> list[str]:
    """Of the message ids of payment files, those that are not recorded here."""
    return await repository.list_unknown_files(connection, message_ids)


async def list_parties_of_accounts(connection: Connection, ibans: Sequence[str]) -> list[str]:
    """The parties that have or had one of these bank accounts."""
    return await repository.list_parties_of_accounts(connection, ibans)


async def list_files(connection: Connection, *, before: str | None, limit: int) -> list[ListedFile]:
    """Payment files, the latest first, those older than `before`."""
    return await repository.list_files(connection, before=before, limit=limit)


async def find_file(connection: Connection, message_id: str) -> RecordedFile | None:
    """One payment file with its bytes."""
    return await repository.find_file(connection, message_id)


async def list_messages(
    connection: Connection, *, state: MessageState | None, before: str | None, limit: int
) -> list[BankMessage]:
    """The bank's messages, the latest first, those older than `before`."""
    return await repository.list_messages(connection, state=state, before=before, limit=limit)
