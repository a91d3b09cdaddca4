"""Documents between parties and the files made of them, in PostgreSQL.

Owns: rows to values. Must not know: what makes a document right, how it is issued.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from clearing.connection import Connection, named_queries, rows
from clearing.documents.document import DocumentFile, DocumentSummary, document_name
from clearing.documents.invoice import DocumentType

_sql = named_queries("documents")


async def list_by_period(connection: Connection, *, start: date, end: date) -> list[DocumentSummary]:
    """The documents whose period lies within `start` to `end`, inclusive."""
    found = await rows(_sql.documents_of_period(connection, period_start=start, period_end=end))
    return [_summary(row) for row in found]


async def list_documents(
    connection: Connection, *, party_id: str | None, before: tuple[str, int] | None, limit: int
) -> list[DocumentSummary]:
    """Documents that a party issued or received, the latest first, from after `before` (series, number)."""
    series, number = before or (None, None)
    found = await rows(
        _sql.list_documents(
            connection, party_id=party_id, before_series=series, before_number=number, limit=limit
        )
    )
    return [_summary(row) for row in found]


async def find_document(
    connection: Connection, *, series: str, number: int, party_id: str | None
) -> tuple[DocumentSummary, dict[str, Any], str | None] | None:
    """A document, its content and the hash of it (None for one issued before contents were hashed)."""
    row = await _sql.find_document(connection, series=series, number=number, party_id=party_id)
    return None if row is None else (_summary(row), json.loads(row["content"]), row["content_sha256"])


async def read_hashed_contents(connection: Connection) -> AsyncIterator[tuple[str, dict[str, Any], str]]:
    """Every document whose content is hashed: its name, its content and the stored hash."""
    for row in await rows(_sql.hashed_contents(connection)):
        yield (
            document_name(row["series"], row["number"]),
            json.loads(row["content"]),
            row["content_sha256"],
        )


async def find_file(connection: Connection, file: DocumentFile) -> tuple[bytes, str] | None:
    """The stored bytes of a file and their hash."""
    row = await _sql.find_file(connection, **asdict(file))
    return None if row is None else (bytes(row["content"]), row["sha256"])


async def insert_file(
    connection: Connection, file: DocumentFile, *, content: bytes, sha256: str, now: datetime
) -> None:
    """Store a file; one that is stored is left as it is."""
    await _sql.insert_file(connection, **asdict(file), sha256=sha256, content=content, now=now)


def _summary(row: Any) -> DocumentSummary:
    same = {
        name: row[name] for name in DocumentSummary.__dataclass_fields__ if name not in ("number", "type")
    }
    return DocumentSummary(
        number=document_name(row["series"], row["number"]), type=DocumentType(row["type_code"]), **same
    )
