"""An approval request: a proposed booking, who proposed it and who approved or rejected it.

Owns: these values. Must not know: when a second person is needed, how a request is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from clearing.approvals.rules import ApprovalState, Resolution
from clearing.ledger.journal_entry import JournalEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """A request as stored.

    `amount_minor` is the change of our balance (positive: money received) or of the receivable. `subject` is
    the kind of its object (a difference, a suspense item, a receivable), `reference` names the object.
    """

    id: UUID
    resolution: Resolution
    state: ApprovalState
    subject: str
    pair: str
    reference: str
    party_id: str | None
    currency: str
    amount_minor: int
    entries: str
    reason: str
    requires_approval: bool
    proposed_by: str
    proposed_at: datetime
    decided_by: str | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What somebody proposes to book.

    `entries` are named by the request's id; `limit_amount_minor` is compared with the approval limit.
    """

    id: UUID
    resolution: Resolution
    subject: str
    pair: str
    reference: str
    party_id: str | None
    currency: str
    amount_minor: int
    limit_amount_minor: int
    entries: Sequence[JournalEntry]
    reason: str
    by: str
