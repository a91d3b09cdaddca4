"""One account's transfers newest first, and where a page of them ends.

Owns: a transfer of an account as a value, and its place in the list as text. Must not know: how it is stored.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self
from uuid import UUID

from clearing.errors import InvalidBooksRequestError

_MARK: Final = "~"
_UUID: Final = "([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})"
_PLACE: Final = re.compile(f"{_UUID}~{_UUID}~([a-z_]{{1,40}})~([0-9]{{1,4}})~(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlace:
    """Where a transfer stands: its batch, its entry, and its number in the entry."""

    batch_id: UUID
    subject_id: UUID
    kind: str
    ordinal: int
    reference: str

    def to_text(self) -> str:
        """As a cursor."""
        return _MARK.join(
            (str(self.batch_id), str(self.subject_id), self.kind, str(self.ordinal), self.reference)
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of `to_text`. Raises InvalidBooksRequestError for another text."""
        found = _PLACE.fullmatch(text)
        if found is None:
            raise InvalidBooksRequestError("cursor", "is not what a page of this list ended with")
        batch, subject, kind, ordinal, reference = found.groups()
        return cls(
            batch_id=UUID(batch),
            subject_id=UUID(subject),
            kind=kind,
            ordinal=int(ordinal),
            reference=reference,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTransfer:
    """A transfer that touches an account; `amount_minor` is positive, `booked_at` its batch's instant."""

    place: TransferPlace
    booked_at: datetime
    debit_account: str
    credit_account: str
    amount_minor: int
    currency: str

    def other_of(self, account: str) -> str:
        """The account on the other side."""
        return self.debit_account if account == self.credit_account else self.credit_account

    def minor_on(self, account: str) -> int:
        """What it added to the account's balance: credits count up, debits down."""
        return self.amount_minor if account == self.credit_account else -self.amount_minor
