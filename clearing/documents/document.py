"""Documents between parties as values: what a list shows, what was issued, the files made of it.

Owns: their shapes, their names and the hash of their content. Must not know: where they are stored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any, Final, Literal

from clearing.documents.invoice import DocumentType
from clearing.documents.printed_page import PrintedPage
from clearing.language import Language

_MAX_DIGITS: Final = 18  # of a bigint


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSummary:
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
class DocumentRecord:
    """A document with its content as issued. `pages` are the same in each language that it is printed in."""

    summary: DocumentSummary
    ubl: bytes
    cii: bytes
    pages: Mapping[Language, PrintedPage]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentExceptionRecord:
    """What could not be issued so far; instants are of the first and the last attempt."""

    supplier_id: str
    customer_id: str
    currency: str
    period_start: date
    period_end: date
    reason: str
    first_at: datetime
    last_at: datetime


def content_sha256(content: Mapping[str, Any]) -> str:
    """The hash of a document's content, whatever the order and spacing of its JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


def document_name(series: str, number: int) -> str:
    """`SB-NL-ABC-V-000001`."""
    return f"{series}-{number:06d}"


def parse_document_name(name: str) -> tuple[str, int]:
    """The series and number in a document's name; ("", 0), which none has, if it is no such name."""
    series, _, digits = name.rpartition("-")
    known = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    return (series, int(digits)) if known and name == document_name(series, int(digits)) else ("", 0)
