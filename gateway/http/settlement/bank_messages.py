"""The bank's messages and our payment files, for an operator without a directory between the two.

Owns: the wire form. Must not know what a message does or how a file is drawn. Only the platform sees any of
it: a payment file holds whole IBANs.
"""

import io
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.desks.bank_intake import BankIntake, TakenMessage
from clearing.desks.bank_rail import BankAnswer, BankRail
from clearing.desks.payout_desk import PayoutDesk
from clearing.store import bank_files
from clearing.store.bank_files import ListedFile, RecordedFile
from gateway import objects
from gateway.database import Connection, transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, QueryModel, page
from gateway.http.idempotency import KeyRule
from gateway.http.models import MAX_PAGE
from gateway.http.problems import ProblemError
from gateway.http.settlement.payout_access import principal
from gateway.lanes import payout_news

_ACCEPTED: Final = 202
_XML: Final = "application/xml"
FileName = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z0-9]+$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class MessagesQuery(QueryModel):
    """A page of messages, the latest first."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Digest | None = Field(None, description="next_cursor of the page before")
    state: Literal["taken", "refused"] | None = None


class FilesQuery(QueryModel):
    """A page of payment files, the latest first."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: FileName | None = Field(None, description="next_cursor of the page before")


class PaymentFileOut(objects.PublicObject):
    """A payment file; compare its figures with what the bank shows before it is released there."""

    id: str = Field(description="its message id at the bank", examples=["NC7d1f0c526b0c5f7e9b352f6f0a4f8e11"])
    object: Literal["payment_file"] = "payment_file"
    created: objects.Instant
    sha256: str
    payments: int
    control_sum: Decimal = Field(description="of all amounts, whatever their currency")
    size_bytes: int
    sent: objects.Instant | None = Field(description="null: not known to have reached the bank")


async def take(call: Call) -> Answer:
    """Work a pain.002, camt.053 or camt.054 in; the same bytes again change nothing."""
    now = call.services.now()
    async with transaction(call.services.pool) as connection:
        taken = await BankIntake(call.services.clearing).take(
            connection,
            lambda: io.BytesIO(call.raw),
            name="api",
            told_by=await principal(call, connection),
            now=now,
        )
        await payout_news.record_taken(connection, taken, now=now)
    if taken.message.state == "refused":
        raise ProblemError(problems.BANK_MESSAGE_REFUSED, f"{taken.message.reason}.")
    return Answer(body=payout_news.message_object(taken), status=_ACCEPTED)


async def list_messages(call: Call) -> Answer:
    """What the bank said, and what was refused, the latest first."""
    query: MessagesQuery = call.query
    async with call.services.pool.acquire() as connection:
        found = await bank_files.messages(
            connection, state=query.state, before=query.cursor, limit=query.limit + 1
        )
    shown = [
        payout_news.message_object(TakenMessage(message=one, answer=BankAnswer(), repeated=False))
        for one in found
    ]
    return Answer(body=page(shown, limit=query.limit))


async def list_files(call: Call) -> Answer:
    """Payment files, the latest first."""
    query: FilesQuery = call.query
    async with call.services.pool.acquire() as connection:
        found = await bank_files.files(connection, before=query.cursor, limit=query.limit + 1)
    return Answer(body=page([_shown(one) for one in found], limit=query.limit))


async def download(call: Call) -> Answer:
    """The file's bytes, as recorded."""
    async with call.services.pool.acquire() as connection:
        found = await _file(call, connection)
    headers = {
        "Content-Type": _XML,
        "Content-Disposition": f'attachment; filename="{found.message_id}.xml"',
        "X-Content-SHA256": found.sha256,
    }
    return Answer(body=found.content, headers=headers)


async def mark_sent(call: Call) -> Answer:
    """A person has handed the file to the bank: no worker writes it into the outbox."""
    async with transaction(call.services.pool) as connection:
        found = await _file(call, connection)
        rail = BankRail(call.services.clearing, PayoutDesk(call.services.clearing))
        await rail.mark_sent(connection, found.message_id, now=call.services.now())
    return Answer(body=None, status=204)


async def _file(call: Call, connection: Connection) -> RecordedFile:
    found = await bank_files.file(connection, call.path["id"])
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such payment file.")
    return found


def _shown(file: ListedFile) -> PaymentFileOut:
    return PaymentFileOut(
        id=file.message_id,
        created=file.created_at,
        sha256=file.sha256,
        payments=file.payment_count,
        control_sum=file.control_sum,
        size_bytes=file.size_bytes,
        sent=file.sent_at,
    )


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/bank-messages",
        operation="takeBankMessage",
        summary="Take in a message of the bank",
        description="A status report (pain.002) or a statement (camt.053, camt.054), whole or not at all. "
        "A larger one goes into the inbox directory.",
        tag="Bank",
        scope=Scope.ADMIN,
        handler=take,
        media_type=_XML,
        large_body=True,
        answers={202: objects.BankMessage},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.BANK_MESSAGE_REFUSED,),
    ),
    Endpoint(
        method="GET",
        path="/v1/bank-messages",
        operation="listBankMessages",
        summary="List the bank's messages",
        tag="Bank",
        scope=Scope.ADMIN,
        handler=list_messages,
        query=MessagesQuery,
        answers={200: objects.BankMessage},
        listed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/payment-files",
        operation="listPaymentFiles",
        summary="List payment files",
        tag="Bank",
        scope=Scope.ADMIN,
        handler=list_files,
        query=FilesQuery,
        answers={200: PaymentFileOut},
        listed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/payment-files/{id}",
        operation="downloadPaymentFile",
        summary="Download a payment file",
        description="pain.001 as recorded; hand it over as it is.",
        tag="Bank",
        scope=Scope.ADMIN,
        handler=download,
        answers={200: None},
        also_gives=(_XML,),
        problems=(problems.NOT_FOUND,),
    ),
    Endpoint(
        method="POST",
        path="/v1/payment-files/{id}/sent",
        operation="markPaymentFileSent",
        summary="Mark a payment file as sent",
        description="For a file that was handed to the bank by hand.",
        tag="Bank",
        scope=Scope.ADMIN,
        handler=mark_sent,
        answers={204: None},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
)
