"""A payment's statement as files: JSON lines, CSV, and a page with both attached, written in one pass.

Owns: what is written where while the rows go by, and what a page carries. Must not know: who asked, what a
line means. Nothing is handed out before the last record was written and its proof held, and no more than a
page of lines is in memory at any time.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from clearing.documents.labels import Language
from clearing.documents.statement_csv import closing_rows, header_row, line_row, opening_row
from clearing.documents.statement_page import Digest, statement_page
from clearing.work import documents, payment_statements
from clearing.work.documents import DocumentFile, StoredDocument
from clearing.work.payment_statements import Computed, StatementRun
from gateway.database import Connection, Pool, transaction
from gateway.documents_pdf import Attachment, render, render_statement
from gateway.ids import format_id

# Above so many lines a page goes without the files of its lines, which then are fetched apart: tens of
# megabytes are no page any more.
ATTACHED_LINES: Final = 20_000
_LINES_PER_BREATH: Final = 50


class StatementForm(StrEnum):
    """As what a statement is written."""

    JSON = "json"
    CSV = "csv"
    PDF = "pdf"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFile:
    """A written statement: where it lies, and its seal, whichever form it has."""

    path: Path
    sha256: str
    number: int
    lines: int


async def write_statement(
    pool: Pool,
    disbursement_id: UUID,
    *,
    party_id: str | None,
    form: StatementForm,
    language: Language,
    now: datetime,
    directory: Path,
) -> StatementFile | None:
    """Write the statement of a payment into `directory`; None where `party_id` (None: any) has no such one.

    Raises StateConflictError for a payment that was not made, InvariantViolation where its rows don't prove
    it.
    """
    async with transaction(pool) as connection:
        found = await payment_statements.issue(connection, disbursement_id, party_id=party_id, now=now)
    if not found:
        return None
    async with transaction(pool, isolation="repeatable_read") as connection:
        run = await payment_statements.open_run(
            connection, disbursement_id, now=now, names=format_id, apart=_in_thread
        )
        digest = await _spool(connection, run, directory, form)
        issued = await _mentioned(connection, run) if form is StatementForm.PDF else []
    async with transaction(pool) as connection:
        await run.keep(connection)
    name = run.statement.disbursement
    path = directory / f"{name}.{form}"
    if form is StatementForm.PDF:
        files = await _issued(pool, issued, directory=directory, language=language, now=now)
        pdf = await _page(run, digest, files, directory=directory, language=language)
        await asyncio.to_thread(path.write_bytes, pdf)
    return StatementFile(
        path=path, sha256=run.writer.seal, number=run.statement.number, lines=run.writer.tally.lines
    )


async def _in_thread(work: Callable[[], Computed]) -> Computed:
    return await asyncio.to_thread(work)


async def _spool(connection: Connection, run: StatementRun, directory: Path, form: StatementForm) -> Digest:
    """Every record into the files that the form needs; the event loop is left to others in between."""
    digest = Digest()
    name, currency = run.statement.disbursement, run.statement.currency
    with (
        (directory / f"{name}.json").open("w", encoding="utf-8", newline="\n") as records,
        (directory / f"{name}.csv").open("w", encoding="utf-8", newline="") as cells,
    ):
        cells.write(f"{header_row()}\r\n{opening_row(run.statement)}\r\n")
        async with aclosing(run.records(connection)) as found:
            async for record in found:
                if form is not StatementForm.CSV:
                    records.write(f"{record.text}\n")
                if record.line is None:
                    continue
                digest.add(record.line)
                if form is not StatementForm.JSON:
                    cells.write(f"{line_row(record.line, number=digest.seen, currency=currency)}\r\n")
                if digest.seen % _LINES_PER_BREATH == 0:
                    await asyncio.sleep(0)
        cells.writelines(f"{row}\r\n" for row in closing_rows(run.statement, run.writer.tally))
    return digest


async def _mentioned(connection: Connection, run: StatementRun) -> list[StoredDocument]:
    """The party's documents since the payment before, as they were issued."""
    found = [
        await documents.find(connection, name=mentioned.number, party_id=run.statement.party_id)
        for mentioned in run.statement.documents
    ]
    return [one for one in found if one is not None]


async def _issued(
    pool: Pool, found: Sequence[StoredDocument], *, directory: Path, language: Language, now: datetime
) -> Sequence[Attachment]:
    """Each document as its XML and its page, which is the one that was handed out before, if any was."""
    attachments: list[Attachment] = []
    for one in found:
        xml = directory / f"{one.summary.number}.xml"
        xml.write_bytes(one.ubl)
        attachments.append(_attachment(xml, "application/xml", "EN 16931 (UBL 2.1)"))
        page = one.pages.get(language)
        if page is not None:
            file = DocumentFile(name=one.summary.number, format="pdf", language=language)
            make = partial(render, page, cii=one.cii, issued_at=one.summary.issued_at)
            async with pool.acquire() as connection:
                content = await documents.keep_file(connection, file, make, now=now)
            pdf = directory / f"{one.summary.number}.pdf"
            pdf.write_bytes(content)
            attachments.append(_attachment(pdf, "application/pdf", "Factur-X"))
    return attachments


async def _page(
    run: StatementRun, digest: Digest, issued: Sequence[Attachment], *, directory: Path, language: Language
) -> bytes:
    name = run.statement.disbursement
    attached = digest.seen <= ATTACHED_LINES
    page = statement_page(
        run.statement,
        status=run.status,
        tally=run.writer.tally,
        digest=digest,
        seal=run.writer.seal,
        attached=attached,
        language=language,
    )
    files = list(issued)
    if attached:
        files = [
            _attachment(directory / f"{name}.csv", "text/csv", "every line", relationship="data"),
            _attachment(
                directory / f"{name}.json", "application/x-ndjson", "every line, proved", relationship="data"
            ),
            *files,
        ]
    return await render_statement(
        page, attachments=files, directory=directory, issued_at=run.statement.issued_at
    )


def _attachment(path: Path, mime: str, description: str, *, relationship: str = "supplement") -> Attachment:
    return Attachment(name=path.name, mime=mime, description=description, relationship=relationship)
