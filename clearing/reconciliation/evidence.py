"""Evidence for a difference: a file or a reference that a person attaches, and what of a file is accepted.

Owns: the types, the size, the names, the hash. Must not know: the store, HTTP, what the evidence proves.

A file's type is read from its content, never from its name or from what a browser says of it: a file that is
none of the known types is rejected, so that nothing that a browser would run is kept.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Final
from uuid import UUID

from clearing.errors import ClearingError

MOST_BYTES: Final = 700_000
MOST_OF_A_DIFFERENCE: Final = 50
MOST_CHARACTERS: Final = 500
_NAME_CHARACTERS: Final = 120
_PDF: Final = "application/pdf"
_TEXT: Final = "text/plain"
# By their first bytes: ISO 32000-1 7.5.2, ISO/IEC 15948 5.2, ISO/IEC 10918-1 B.1.
_BEGINNINGS: Final = ((b"%PDF-", _PDF), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
_ENDINGS: Final = MappingProxyType({_PDF: "pdf", "image/png": "png", "image/jpeg": "jpg", _TEXT: "txt"})
_TABLES: Final = (".csv", ".txt")


class EvidenceRejectedError(ClearingError):
    """A file or reference that is not taken; the message says what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceEvidence:
    """What was attached; `content` only where it is asked for. A reference has neither type nor size."""

    id: UUID
    difference_id: UUID
    name: str
    content_type: str | None
    size_bytes: int | None
    reference: str | None
    sha256: str
    added_by: str
    added_at: datetime
    content: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEvidence:
    """A file or a reference that is accepted, with its SHA-256."""

    name: str
    content_type: str | None
    content: bytes | None
    reference: str | None
    sha256: str


def check_file(name: str, content: bytes) -> CheckedEvidence:
    """A file whose type and size are accepted, under a name that is safe anywhere.

    Raises EvidenceRejectedError.
    """
    if not 0 < len(content) <= MOST_BYTES:
        raise EvidenceRejectedError(f"a file of {len(content)} bytes: expected 1 to {MOST_BYTES}")
    content_type = _type_of(content)
    if content_type is None:
        raise EvidenceRejectedError("a file of an unknown type: expected PDF, PNG, JPEG or UTF-8 text")
    return CheckedEvidence(
        name=_safe_name(name, content_type),
        content_type=content_type,
        content=content,
        reference=None,
        sha256=sha256(content).hexdigest(),
    )


def check_reference(text: str) -> CheckedEvidence:
    """Where the evidence is kept elsewhere: a text such as a document's number or an address.

    Raises EvidenceRejectedError.
    """
    reference = " ".join(text.split())
    if not 0 < len(reference) <= MOST_CHARACTERS or not reference.isprintable():
        raise EvidenceRejectedError(f"a reference is 1 to {MOST_CHARACTERS} printable characters")
    return CheckedEvidence(
        name="",
        content_type=None,
        content=None,
        reference=reference,
        sha256=sha256(reference.encode()).hexdigest(),
    )


def _type_of(content: bytes) -> str | None:
    for beginning, content_type in _BEGINNINGS:
        if content.startswith(beginning):
            return content_type
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return _TEXT if all(one.isprintable() or one in "\t\r\n\ufeff" for one in text) else None


def _safe_name(name: str, content_type: str) -> str:
    """Letters, digits, points, marks and spaces of the name's last part, with an ending of its type."""
    plain = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(one if one.isalnum() or one in "._- " else "_" for one in plain)
    stem, _, ending = kept.strip(" .")[-_NAME_CHARACTERS:].rpartition(".")
    table = content_type == _TEXT and f".{ending.lower()}" in _TABLES
    return f"{stem or ending or 'evidence'}.{ending.lower() if table else _ENDINGS[content_type]}"
