"""A suspense item: money whose purpose is not known yet.

Owns: this value. Must not know: how it is stored or cleared.
"""

from dataclasses import dataclass
from datetime import date
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspenseItem:
    """Unallocated money: `remaining_minor` of `amount_minor` (positive: received), its owner and age."""

    id: UUID
    currency: str
    amount_minor: int
    remaining_minor: int
    since: date
    owner: str
    detail: str
    age_days: int
