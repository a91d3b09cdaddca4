"""A payment file as recorded, and as listed.

Owns: these values. Must not know: how a file is made or stored.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFile:
    """A file as recorded: the same bytes however often it is read."""

    message_id: str
    content: bytes
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A payment file without its bytes; `control_sum` adds amounts whatever their currency."""

    message_id: str
    created_at: datetime
    sha256: str
    payment_count: int
    control_sum: Decimal
    sent_at: datetime | None
    size_bytes: int
