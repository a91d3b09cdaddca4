"""Documents between parties as they were issued: lists, contents, files, and the proof that none changed.

Owns: reading them and keeping the files that were handed out. Must not know: what makes a document right
(`invoice`), how it is issued (`issuing`), how a page is set.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any, Final, Literal

from clearing.connection import Connection, named_queries, rows
from clearing.documents.invoice import DocumentType
from clearing.documents.labels import Language
from clearing.documents.printing import Page, page_of
from clearing.errors import InvariantViolation

_sql = named_queries("documents")
_MAX_DIGITS: Final = 18  # of a bigint


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedDocument:
    """What a list of documents shows; days are the platform's."""

    number: str
    type: DocumentType
    supplier_id: str
    customer_id: str
    period_start: date
    period_end: date
    currency: str
    net_minor: int
    vat_minor: int
    gross_minor: int
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFile:
    """A file made of a document, by its number."""

    name: str
    format: Literal["pdf", "xml"]
    language: Language = Language.ENGLISH


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document with its content as issued. `pages` are the same in each language that it is printed in."""

    summary: IssuedDocument
    ubl: bytes
    cii: bytes
    pages: Mapping[Language, Page]


async def issued(connection: Connection, *, start: date, end: date) -> Sequence[IssuedDocument]:
    """The documents whose period lies within `start` to `end`, inclusive."""
    found = await rows(_sql.documents(connection, period_start=start, period_end=end))
    return [_summary(row) for row in found]


async def listed(
    connection: Connection, *, party_id: str | None, before: str | None, limit: int
) -> Sequence[IssuedDocument]:
    """Documents that a party issued or received, the latest first; `party_id` None: everybody's.

    `before` is the number of the last one seen; one that is not the party's own ends the list.
    """
    series, number = (None, None) if before is None else _split(before)
    found = await rows(
        _sql.listed(connection, party_id=party_id, before_series=series, before_number=number, limit=limit)
    )
    return [_summary(row) for row in found]


async def find(connection: Connection, *, name: str, party_id: str | None) -> StoredDocument | None:
    """A party's document by its number; None where it has none of that number.

    Raises InvariantViolation where its content is not what was issued.
    """
    series, number = _split(name)
    row = await _sql.one(connection, series=series, number=number, party_id=party_id)
    if row is None:
        return None
    content = json.loads(row["content"])
    if row["content_sha256"] not in (None, content_sha256(content)):
        raise InvariantViolation(f"document {name} is not what was issued")
    return StoredDocument(
        summary=_summary(row),
        ubl=content["ubl"].encode(),
        cii=content["cii"].encode(),
        pages={Language(name): page_of(page) for name, page in content.get("pages", {}).items()},
    )


async def keep_file(
    connection: Connection, file: DocumentFile, make: Callable[[], Awaitable[bytes]], *, now: datetime
) -> bytes:
    """The file as it was first handed out, made by `make` if it never was: the same bytes for ever.

    Raises InvariantViolation where the stored bytes are not those that were stored.
    """
    stored = await _file(connection, file)
    if stored is None:
        content = await make()
        await _sql.keep_file(
            connection, **asdict(file), sha256=sha256(content).hexdigest(), content=content, now=now
        )
        stored = await _file(connection, file)
    if stored is None:
        raise InvariantViolation(f"{file.name} was not kept")
    return stored


async def _file(connection: Connection, file: DocumentFile) -> bytes | None:
    row = await _sql.file(connection, **asdict(file))
    if row is None:
        return None
    content = bytes(row["content"])
    if sha256(content).hexdigest() != row["sha256"]:
        raise InvariantViolation(f"{file.name} as {file.format} is not what was handed out")
    return content


async def altered(connection: Connection) -> list[str]:
    """The numbers of documents whose content is no longer what was issued."""
    return [
        document_name(row["series"], row["number"])
        for row in await rows(_sql.contents(connection))
        if content_sha256(json.loads(row["content"])) != row["content_sha256"]
    ]


def content_sha256(content: Mapping[str, Any]) -> str:
    """The hash of a document's content, whatever the order and spacing of its JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


def _split(name: str) -> tuple[str, int]:
    """The series and number in a document's name; a name that is none has a number that none has."""
    series, _, digits = name.rpartition("-")
    known = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    return (series, int(digits)) if known and name == document_name(series, int(digits)) else ("", 0)


def _summary(row: Any) -> IssuedDocument:
    same = {name: row[name] for name in IssuedDocument.__dataclass_fields__ if name not in ("number", "type")}
    return IssuedDocument(
        number=document_name(row["series"], row["number"]), type=DocumentType(row["type_code"]), **same
    )


def document_name(series: str, number: int) -> str:
    """`SB-NL-ABC-V-000001`."""
    return f"{series}-{number:06d}"
