"""Bank messages and payment files, for an operator without a directory between the worker and the bank.

Owns: the request and response schemas. Must not know: what a message changes, how a file is made. Only the
platform may read them: a payment file contains whole IBANs.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.bank_transfers.message_importer import ImportedMessage
from clearing.bank_transfers.payment_file import ListedFile
from clearing.bank_transfers.service import BankOutcome
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, page
from gateway.api.field_types import MAX_PAGE
from gateway.api.idempotency import KeyRule
from gateway.api.problems import ProblemError
from gateway.schemas import api_schemas
from gateway.webhooks import payout_events

_ACCEPTED: Final = 202
_XML: Final = "application/xml"
FileName = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z0-9]+$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class MessagesQuery(QueryModel):
    """A page of messages, the latest first."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Digest | None = Field(None, description="`next_cursor` of the previous page")
    state: Literal["imported", "rejected"] | None = None


class FilesQuery(QueryModel):
    """A page of payment files, the latest first."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: FileName | None = Field(None, description="`next_cursor` of the previous page")


class PaymentFileSchema(api_schemas.PublicSchema):
    """A payment file; compare its figures with those that the bank shows before you release it there."""

    id: str = Field(
        description="The file's message id at the bank.", examples=["NC7d1f0c526b0c5f7e9b352f6f0a4f8e11"]
    )
    object: Literal["payment_file"] = "payment_file"
    created: api_schemas.Instant
    sha256: str
    payments: int
    control_sum: Decimal = Field(description="Sum of all amounts, whatever their currency.")
    size_bytes: int
    sent: api_schemas.Instant | None = Field(
        description="Null if the file is not known to have reached the bank."
    )


async def import_message(call: ApiRequest) -> ApiResponse:
    """Import a pain.002, camt.053 or camt.054; the same bytes again change nothing."""
    imported = await call.services.bank_messages.import_message(call.raw, key=call.caller.key)
    if imported.message.state == "rejected":
        raise ProblemError(problems.BANK_MESSAGE_REJECTED, f"{imported.message.reason}.")
    return ApiResponse(body=payout_events.message_object(imported), status=_ACCEPTED)


async def list_messages(call: ApiRequest) -> ApiResponse:
    """The bank's messages, imported and rejected, the latest first."""
    query: MessagesQuery = call.query
    found = await call.services.bank_messages.list_messages(
        state=query.state, before=query.cursor, limit=query.limit + 1
    )
    shown = [
        payout_events.message_object(ImportedMessage(message=one, outcome=BankOutcome(), repeated=False))
        for one in found
    ]
    return ApiResponse(body=page(shown, limit=query.limit))


async def list_files(call: ApiRequest) -> ApiResponse:
    """Payment files, the latest first."""
    query: FilesQuery = call.query
    found = await call.services.bank_messages.list_files(before=query.cursor, limit=query.limit + 1)
    return ApiResponse(body=page([_shown(one) for one in found], limit=query.limit))


async def download(call: ApiRequest) -> ApiResponse:
    """The file's bytes, as recorded."""
    found = await call.services.bank_messages.get_file(call.path["id"])
    headers = {
        "Content-Type": _XML,
        "Content-Disposition": f'attachment; filename="{found.message_id}.xml"',
        "X-Content-SHA256": found.sha256,
    }
    return ApiResponse(body=found.content, headers=headers)


async def mark_sent(call: ApiRequest) -> ApiResponse:
    """Record that a person has sent the file to the bank: no worker writes it into the outbox."""
    await call.services.bank_messages.mark_sent(call.path["id"])
    return ApiResponse(body=None, status=204)


def _shown(file: ListedFile) -> PaymentFileSchema:
    return PaymentFileSchema(
        id=file.message_id,
        created=file.created_at,
        sha256=file.sha256,
        payments=file.payment_count,
        control_sum=file.control_sum,
        size_bytes=file.size_bytes,
        sent=file.sent_at,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/bank-messages",
        operation="importBankMessage",
        summary="Import a bank message",
        description="Imports a status report (pain.002) or a statement (camt.053, camt.054), whole or "
        "not at all. Put larger messages into the inbox directory.",
        tag="Bank",
        handler=import_message,
        media_type=_XML,
        large_body=True,
        answers={202: api_schemas.BankMessageSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.BANK_MESSAGE_REJECTED,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/bank-messages",
        operation="listBankMessages",
        summary="List bank messages",
        tag="Bank",
        handler=list_messages,
        query=MessagesQuery,
        answers={200: api_schemas.BankMessageSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/payment-files",
        operation="listPaymentFiles",
        summary="List payment files",
        tag="Bank",
        handler=list_files,
        query=FilesQuery,
        answers={200: PaymentFileSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/payment-files/{id}",
        operation="downloadPaymentFile",
        summary="Download a payment file",
        description="Returns the pain.001 file as recorded; send it to the bank unchanged.",
        tag="Bank",
        handler=download,
        answers={200: None},
        also_gives=(_XML,),
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/payment-files/{id}/mark-sent",
        operation="markPaymentFileSent",
        summary="Mark a payment file as sent",
        description="Records that a person has sent the file to the bank.",
        tag="Bank",
        handler=mark_sent,
        answers={204: None},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
)
