"""Documents between parties as they were issued: lists, contents, files, and the proof that none changed.

Owns: what may be read, and that a file is the same bytes for ever. Must not know: what makes a document right
(`invoice`), how it is issued (`invoice_service`), how a page is set. Every function takes the connection;
none commits.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import date, datetime
from hashlib import sha256
from typing import Any

from clearing.connection import Connection
from clearing.documents import repository
from clearing.documents.document import (
    DocumentFile,
    DocumentRecord,
    DocumentSummary,
    content_sha256,
    document_name,
    parse_document_name,
)
from clearing.documents.printed_page import page_of
from clearing.errors import ClearingInvariantViolation
from clearing.language import Language


async def list_by_period(connection: Connection, *, start: date, end: date) -> Sequence[DocumentSummary]:
    """The documents whose period lies within `start` to `end`, inclusive."""
    return await repository.list_by_period(connection, start=start, end=end)


async def list_documents(
    connection: Connection, *, party_id: str | None, before: str | None, limit: int
) -> Sequence[DocumentSummary]:
    """Documents that a party issued or received, the latest first; `party_id` None: of all parties.

    `before` is the number of the last one seen; one that is not the party's own ends the list.
    """
    after = None if before is None else parse_document_name(before)
    return await repository.list_documents(connection, party_id=party_id, before=after, limit=limit)


async def find_document(connection: Connection, *, name: str, party_id: str | None) -> DocumentRecord | None:
    """A party's document by its number; None where it has none of that number.

    Raises ClearingInvariantViolation where its content is not what was issued.
    """
    series, number = parse_document_name(name)
    found = await repository.find_document(connection, series=series, number=number, party_id=party_id)
    if found is None:
        return None
    summary, content, digest = found
    if digest not in (None, content_sha256(content)):
        raise ClearingInvariantViolation(f"document {name} is not what was issued")
    return DocumentRecord(
        summary=summary,
        ubl=content["ubl"].encode(),
        cii=content["cii"].encode(),
        pages={Language(language): page_of(page) for language, page in content.get("pages", {}).items()},
    )


async def store_file(
    connection: Connection, file: DocumentFile, make: Callable[[], Awaitable[bytes]], *, now: datetime
) -> bytes:
    """The file as it was first handed out, made by `make` if it never was: the same bytes for ever.

    Raises ClearingInvariantViolation where the stored bytes are not those that were stored.
    """
    stored = await _file(connection, file)
    if stored is None:
        content = await make()
        await repository.insert_file(
            connection, file, content=content, sha256=sha256(content).hexdigest(), now=now
        )
        stored = await _file(connection, file)
    if stored is None:
        raise ClearingInvariantViolation(f"{file.name} was not stored")
    return stored


async def _file(connection: Connection, file: DocumentFile) -> bytes | None:
    found = await repository.find_file(connection, file)
    if found is None:
        return None
    content, digest = found
    if sha256(content).hexdigest() != digest:
        raise ClearingInvariantViolation(f"{file.name} as {file.format} is not what was handed out")
    return content


def altered_among(found: Iterable[Any]) -> list[str]:
    """The numbers of those of these documents whose content is no longer what was issued."""
    return [
        document_name(row["series"], row["number"])
        for row in found
        if content_sha256(json.loads(row["content"])) != row["content_sha256"]
    ]


async def find_altered(connection: Connection) -> list[str]:
    """The numbers of documents whose content is no longer what was issued."""
    return [
        name
        async for name, content, digest in repository.read_hashed_contents(connection)
        if content_sha256(content) != digest
    ]
