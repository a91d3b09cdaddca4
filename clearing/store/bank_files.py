"""Payment files and the bank's messages in PostgreSQL.

Owns: rows to values and back. Must not know: where files lie, what a message does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from clearing.connection import Connection, named_queries, rows
from clearing.payouts.disbursement import Disbursement, DisbursementState

_sql = named_queries("bank_files")
MessageState = Literal["taken", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFile:
    """A file as recorded: the same bytes however often it is asked for."""

    message_id: str
    content: bytes
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A payment file without its bytes; `control_sum` adds amounts whatever their currency."""

    message_id: str
    created_at: datetime
    sha256: str
    payment_count: int
    control_sum: Decimal
    sent_at: datetime | None
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BankMessage:
    """A message of the bank as kept: what it did, or why it was refused."""

    sha256: str
    name: str
    kind: str
    state: MessageState
    size_bytes: int
    received_at: datetime
    settled: int
    rejected: int
    returned: int
    new_lines: int
    reason: str | None
    told_by: str


async def drawable_currencies(connection: Connection) -> list[str]:
    """Currencies of bank payments that wait to be drawn."""
    return [row["currency"] for row in await rows(_sql.drawable_currencies(connection))]


async def to_draw(connection: Connection, *, currencies: Sequence[str], limit: int) -> list[Disbursement]:
    """Planned and released bank payments, held for this transaction."""
    found = await rows(_sql.to_draw(connection, currencies=list(currencies), limit=limit))
    return [Disbursement(**{**dict(row.items()), "state": DisbursementState(row["state"])}) for row in found]


async def take_unsent(connection: Connection, *, beside: Sequence[str]) -> RecordedFile | None:
    """The oldest unsent file that isn't named in `beside`, held for this transaction."""
    row = await _sql.take_unsent(connection, beside=list(beside))
    return None if row is None else RecordedFile(**dict(row.items()))


async def files(connection: Connection, *, before: str | None, limit: int) -> list[ListedFile]:
    """Payment files, the latest first, those older than `before`."""
    found = await rows(_sql.files(connection, before=before, limit=limit))
    return [ListedFile(**dict(row.items())) for row in found]


async def file(connection: Connection, message_id: str) -> RecordedFile | None:
    """One payment file with its bytes."""
    row = await _sql.file(connection, message_id=message_id)
    return None if row is None else RecordedFile(**dict(row.items()))


async def claim_message(
    connection: Connection, *, sha256: str, name: str, size_bytes: int, told_by: str, now: datetime
) -> bool:
    """Whether this transaction is the one to work the message in; False: it was taken before.

    Other messages wait until it ends.
    """
    await _sql.hold_intake(connection)
    claimed = await _sql.claim_message(
        connection, sha256=sha256, name=name, size_bytes=size_bytes, told_by=told_by, now=now
    )
    return claimed is not None


async def finish_message(connection: Connection, message: BankMessage) -> None:
    """Keep what a claimed message did."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Money that came in under an end-to-end id, as a statement told it."""

    end_to_end_id: str
    amount_minor: int
    currency: str
    detail: str


async def credits_of(connection: Connection, end_to_end_ids: Sequence[str]) -> list[Credit]:
    """Booked credits under these ids."""
    return [
        Credit(
            end_to_end_id=row["reference"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            detail=row["detail"],
        )
        for row in await rows(_sql.credits_of(connection, references=list(end_to_end_ids)))
    ]


async def message(connection: Connection, sha256: str) -> BankMessage | None:
    """One message."""
    row = await _sql.message(connection, sha256=sha256)
    return None if row is None else BankMessage(**dict(row.items()))


async def messages(
    connection: Connection, *, state: MessageState | None, before: str | None, limit: int
) -> list[BankMessage]:
    """Messages, the latest first, those older than `before`."""
    found = await rows(_sql.messages(connection, state=state, before=before, limit=limit))
    return [BankMessage(**dict(row.items())) for row in found]


async def refused_since(connection: Connection, *, since: datetime) -> int:
    """How many messages were refused since then."""
    count: int = await _sql.refused_since(connection, since=since)
    return count
