"""The statement of a disbursement: JSON lines that prove themselves, CSV, or a page with both attached.

Owns: the wire form, and which party may read which statement. Must not know what a statement holds or how it
is written.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import BinaryIO, Final

from clearing.language import Language
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel
from gateway.api.problems import ProblemError
from gateway.settlement_export import StatementForm, write_statement

_MEDIA: Final = {
    StatementForm.JSON: "application/x-ndjson",
    StatementForm.CSV: "text/csv; charset=utf-8; header=present",
    StatementForm.PDF: "application/pdf",
}


class StatementQuery(QueryModel):
    """As what: JSON lines for `networkcore verify`, CSV, or PDF in a language."""

    format: StatementForm = StatementForm.JSON
    language: Language = Language.ENGLISH


async def get_statement(call: ApiRequest) -> ApiResponse:
    """The statement of one payment, proved before its first byte is sent."""
    disbursement_id = call.path_id("id", "dis")
    query: StatementQuery = call.query
    services = call.services
    async with services.statement_turns:
        with tempfile.TemporaryDirectory(prefix="statement-") as directory:
            written = await write_statement(
                services.pool,
                disbursement_id,
                party_id=None if call.caller.admin else call.caller.party_id,
                form=query.format,
                language=query.language,
                now=services.now(),
                directory=Path(directory),
            )
            # The open file outlives its directory, and goes when it is sent.
            stream = None if written is None else await asyncio.to_thread(_opened, written.path)
    if written is None or stream is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such disbursement.")
    return ApiResponse(
        body=None,
        stream=stream,
        headers={
            "Content-Type": _MEDIA[query.format],
            "Content-Disposition": f'attachment; filename="{written.path.name}"',
            "X-Statement-SHA256": written.sha256,
        },
    )


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/disbursements/{id}/statement",
        operation="getDisbursementStatement",
        summary="Get a disbursement's statement",
        description=(
            "The opening balance, every session and correction that the payment nets, with price, VAT, the "
            "party's part, fees and exchange, the payment, and the closing balance. ?format=json returns JSON"
            " lines that `networkcore verify` checks offline; ?format=csv returns one row per line; "
            "?format=pdf returns a PDF in `language` with the JSON and CSV files attached, and the issued "
            "documents. X-Statement-SHA256 is the statement's hash in each form. state_conflict until it is "
            "paid."
        ),
        tag="Settlement",
        handler=get_statement,
        query=StatementQuery,
        answers={200: None},
        also_gives=("application/x-ndjson", "text/csv", "application/pdf"),
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
