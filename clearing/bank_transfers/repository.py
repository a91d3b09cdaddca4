"""Payment files and the bank's messages in PostgreSQL.

Owns: rows to values and back. Must not know: where files are written, what a message changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from clearing.bank_transfers.bank_message import BankMessage, Credit, MessageState
from clearing.bank_transfers.payment_file import ListedFile, RecordedFile
from clearing.connection import Connection, named_queries, rows
from clearing.iso20022.pain001 import WrittenFile
from clearing.payouts.disbursement import Disbursement, DisbursementState

_sql = named_queries("bank_transfers")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileItemRecord:
    """A disbursement of a payment file, with the file's batch that pays it and its present state."""

    disbursement_id: UUID
    batch_id: str
    end_to_end_id: str
    state: DisbursementState


@dataclass(frozen=True, slots=True, kw_only=True)
class BankDisbursementRecord:
    """What a bank line is compared with."""

    id: UUID
    amount_minor: int
    currency: str
    state: DisbursementState


async def list_planned_currencies(connection: Connection) -> list[str]:
    """The currencies of planned bank disbursements."""
    return [row["currency"] for row in await rows(_sql.planned_currencies(connection))]


async def lock_payable(
    connection: Connection, *, currencies: Sequence[str], limit: int
) -> list[Disbursement]:
    """Planned and approved bank disbursements, locked until the transaction ends."""
    found = await rows(_sql.lock_payable(connection, currencies=list(currencies), limit=limit))
    return [Disbursement(**{**dict(row.items()), "state": DisbursementState(row["state"])}) for row in found]


async def insert_file(
    connection: Connection,
    message_id: str,
    written: WrittenFile,
    *,
    batch_ids: Mapping[UUID, str],
    now: datetime,
) -> None:
    """Store a payment file; its disbursements are requested from here on. `batch_ids`: the batch of each."""
    await _sql.insert_file(
        connection,
        message_id=message_id,
        now=now,
        content=written.content,
        sha256=written.sha256,
        payment_count=written.count,
        control_sum=written.control_sum,
    )
    ids = list(batch_ids)
    await _sql.insert_file_items(connection, message_id=message_id, ids=ids, batches=list(batch_ids.values()))
    await _sql.request_disbursements(connection, ids=ids, now=now)


async def mark_sent(connection: Connection, message_id: str, *, now: datetime) -> None:
    """Record that the bank has the file."""
    await _sql.mark_sent(connection, message_id=message_id, now=now)


async def list_disbursements_of_file(connection: Connection, message_id: str) -> list[FileItemRecord]:
    """The disbursements of one payment file."""
    return [
        FileItemRecord(**{**dict(row.items()), "state": DisbursementState(row["state"])})
        for row in await rows(_sql.disbursements_of_file(connection, message_id=message_id))
    ]


async def find_disbursement(connection: Connection, end_to_end_id: str) -> BankDisbursementRecord | None:
    """The bank disbursement with this end-to-end id."""
    row = await _sql.disbursement_of(connection, end_to_end_id=end_to_end_id)
    if row is None:
        return None
    return BankDisbursementRecord(**{**dict(row.items()), "state": DisbursementState(row["state"])})


async def lock_unsent_file(connection: Connection, *, except_ids: Sequence[str]) -> RecordedFile | None:
    """The oldest unsent file that isn't among `except_ids`, locked until the transaction ends."""
    row = await _sql.lock_unsent_file(connection, except_ids=list(except_ids))
    return None if row is None else RecordedFile(**dict(row.items()))


async def list_files(connection: Connection, *, before: str | None, limit: int) -> list[ListedFile]:
    """Payment files, the latest first, those older than `before`."""
    found = await rows(_sql.files(connection, before=before, limit=limit))
    return [ListedFile(**dict(row.items())) for row in found]


async def find_file(connection: Connection, message_id: str) -> RecordedFile | None:
    """One payment file with its bytes."""
    row = await _sql.file(connection, message_id=message_id)
    return None if row is None else RecordedFile(**dict(row.items()))


async def claim_message(
    connection: Connection, *, sha256: str, name: str, size_bytes: int, reported_by: str, now: datetime
) -> bool:
    """Whether this transaction imports the message; False: it was imported before.

    Other messages wait until it ends.
    """
    await _sql.lock_import(connection)
    claimed = await _sql.claim_message(
        connection, sha256=sha256, name=name, size_bytes=size_bytes, reported_by=reported_by, now=now
    )
    return claimed is not None


async def finish_message(connection: Connection, message: BankMessage) -> None:
    """Record what a claimed message changed."""
    await _sql.finish_message(
        connection,
        sha256=message.sha256,
        kind=message.kind,
        state=message.state,
        settled=message.settled,
        rejected=message.rejected,
        returned=message.returned,
        new_lines=message.new_lines,
        reason=message.reason,
    )


async def list_credits(connection: Connection, end_to_end_ids: Sequence[str]) -> list[Credit]:
    """Booked credits under these end-to-end ids."""
    return [
        Credit(
            end_to_end_id=row["reference"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            detail=row["detail"],
        )
        for row in await rows(_sql.credits_of(connection, references=list(end_to_end_ids)))
    ]


async def find_message(connection: Connection, sha256: str) -> BankMessage | None:
    """One message."""
    row = await _sql.message(connection, sha256=sha256)
    return None if row is None else BankMessage(**dict(row.items()))


async def list_messages(
    connection: Connection, *, state: MessageState | None, before: str | None, limit: int
) -> list[BankMessage]:
    """Messages, the latest first, those older than `before`."""
    found = await rows(_sql.messages(connection, state=state, before=before, limit=limit))
    return [BankMessage(**dict(row.items())) for row in found]


async def list_unsent(connection: Connection) -> list[str]:
    """Message ids of files that are not known to have reached the bank, the oldest first."""
    return [row["message_id"] for row in await rows(_sql.unsent_files(connection))]


async def list_unknown_files(connection: Connection, message_ids: Sequence[str]) -> list[str]:
    """Of message ids, those of no file here."""
    found = await rows(_sql.unknown_files(connection, message_ids=list(message_ids)))
    return [row["message_id"] for row in found]


async def list_parties_of_accounts(connection: Connection, ibans: Sequence[str]) -> list[str]:
    """The parties that have or had one of these bank accounts."""
    return [row["party_id"] for row in await rows(_sql.parties_of_accounts(connection, ibans=list(ibans)))]
