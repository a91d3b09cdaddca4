"""Suspense items and receivables as lines of the reconciliation report.

Owns: how each becomes a line. Must not know: the report's format, the database.
"""

import json
from datetime import datetime
from typing import Final

from clearing.identifiers import format_id
from clearing.receivables.ageing import AgedReceivable
from clearing.reconciliation.report import OpenDifference
from clearing.reconciliation.suspense import SuspenseItem

SUSPENSE: Final = "suspense"
RECEIVABLE: Final = "receivable"
_RECEIVABLES_OWNER: Final = "collections"


def suspense_line(item: SuspenseItem, *, now: datetime) -> OpenDifference:
    """A suspense item: positive if money was received."""
    return OpenDifference(
        pair=SUSPENSE,
        reference=format_id("rdc", item.id),
        currency=item.currency,
        type=SUSPENSE,
        amount_minor=item.remaining_minor,
        since=item.since,
        owner=item.owner,
        detail=item.detail,
        proposal=json.dumps({"do": "identify it, then clear it out of suspense"}),
        first_seen_at=now,
        age_days=item.age_days,
        id=item.id,
        prefix="rdc",
    )


def receivable_line(receivable: AgedReceivable, *, now: datetime) -> OpenDifference:
    """A receivable: negative."""
    buckets = ", ".join(f"{name} days: {minor}" for name, minor in receivable.buckets if minor)
    return OpenDifference(
        pair=RECEIVABLE,
        reference=receivable.party_id,
        currency=receivable.currency,
        type=RECEIVABLE,
        amount_minor=-receivable.receivable_minor,
        since=receivable.since,
        owner=_RECEIVABLES_OWNER,
        detail=buckets,
        proposal=json.dumps({"do": "collect it, set it off if the party consented, or write it off"}),
        first_seen_at=now,
        age_days=receivable.age_days,
    )
