"""The end of a payment that is intended in the statement that ends its session.

Owns: the shape of a plan, and of what became of it. Must not know: how a step is chosen, or sent.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.payments.records import AuthorizationRecord, CaptureRecord, PspRequestRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEnd:
    """A capture, or the release of a hold of which nothing is owed (`capture` None), on the hold as read.

    `next_attempt_at` is wall time: when somebody else sends the request, if its sender does not.
    """

    authorization: AuthorizationRecord
    capture: CaptureRecord | None
    request: PspRequestRecord
    next_attempt_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IntendedEnd:
    """A plan that was committed; `id` is that of its capture, `at` business time."""

    planned: PlannedEnd
    id: UUID
    at: datetime
