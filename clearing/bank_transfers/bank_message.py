"""A message of the bank as recorded, and the credits that statements report.

Owns: these values. Must not know: how a message is read or stored.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

MessageState = Literal["imported", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BankMessage:
    """A message of the bank as recorded: what it changed, or why it was rejected."""

    sha256: str
    name: str
    kind: str
    state: MessageState
    size_bytes: int
    received_at: datetime
    settled: int
    rejected: int
    returned: int
    new_lines: int
    reason: str | None
    reported_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Money received under an end-to-end id, as reported by a statement."""

    end_to_end_id: str
    amount_minor: int
    currency: str
    detail: str
