"""A settlement statement as files: JSON lines, CSV, and a page with both attached, written in one pass.

Owns: which record goes to which file, and what is attached to a page. Must not know: who requested it, what a
line means. No file is returned before its last record was written and verified, and no more than a page of
lines is in memory at any time.
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

from clearing.documents import service as document_service
from clearing.documents.document import DocumentFile, DocumentRecord
from clearing.language import Language
from clearing.settlement_statements import service as statement_service
from clearing.settlement_statements.csv_export import closing_rows, header_row, line_row, opening_row
from clearing.settlement_statements.page import Digest, statement_page
from clearing.settlement_statements.service import Computed, StatementRun
from gateway.database import Connection, Pool, transaction
from gateway.pdf_renderer import Attachment, render, render_statement

# Above so many lines their files are tens of megabytes: they are not attached to the page but fetched
# separately.
ATTACHED_LINES: Final = 20_000
_LINES_PER_PAUSE: Final = 50


class StatementForm(StrEnum):
    """The file formats of a statement."""

    JSON = "json"
    CSV = "csv"
    PDF = "pdf"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFile:
    """A written statement: its path, and its seal, which is the same in every form."""

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
    """Write the statement of a disbursement into `directory`; None where it is not one of `party_id`'s.

    Raises ClearingConflictError for a disbursement that was not paid, ClearingInvariantViolation where its
    rows do not add up to it. `party_id` None: of any party.
    """
    async with transaction(pool) as connection:
        found = await statement_service.issue(connection, disbursement_id, party_id=party_id, now=now)
    if not found:
        return None
    async with transaction(pool, isolation="repeatable_read") as connection:
        run = await statement_service.open_run(connection, disbursement_id, now=now, background=_in_thread)
        digest = await _spool(connection, run, directory, form)
        issued = await _mentioned(connection, run) if form is StatementForm.PDF else []
    async with transaction(pool) as connection:
        await run.store_seal(connection)
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
    """Write every record into the files that the form needs, letting other work run in between."""
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
                if digest.seen % _LINES_PER_PAUSE == 0:
                    await asyncio.sleep(0)
        cells.writelines(f"{row}\r\n" for row in closing_rows(run.statement, run.writer.tally))
    return digest


async def _mentioned(connection: Connection, run: StatementRun) -> list[DocumentRecord]:
    """The party's documents since the disbursement before, as they were issued."""
    found = [
        await document_service.find_document(
            connection, name=mentioned.number, party_id=run.statement.party_id
        )
        for mentioned in run.statement.documents
    ]
    return [one for one in found if one is not None]


async def _issued(
    pool: Pool, found: Sequence[DocumentRecord], *, directory: Path, language: Language, now: datetime
) -> Sequence[Attachment]:
    """Each document as its XML and its page; the page that was returned before, if one was."""
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
                content = await document_service.store_file(connection, file, make, now=now)
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
                directory / f"{name}.json",
                "application/x-ndjson",
                "every line, verifiable",
                relationship="data",
            ),
            *files,
        ]
    return await render_statement(
        page, attachments=files, directory=directory, issued_at=run.statement.issued_at
    )


def _attachment(path: Path, mime: str, description: str, *, relationship: str = "supplement") -> Attachment:
    return Attachment(name=path.name, mime=mime, description=description, relationship=relationship)
