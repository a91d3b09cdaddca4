"""Everything that is open as lines of one report: differences, money in suspense, debts of parties.

Owns: how each becomes a line. Must not know: the report's form.
"""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from clearing.connection import Connection
from clearing.desks.debt_desk import DebtDesk
from clearing.desks.reconciler import Reconciler
from clearing.desks.resolution_desk import ResolutionDesk
from clearing.reconciliation.report import OpenDifference
from clearing.service import ClearingService

SUSPENSE: Final = "suspense"
DEBT: Final = "debt"
_COLLECTS: Final = "collections"


async def open_lines(
    connection: Connection, clearing: ClearingService, *, now: datetime
) -> AsyncIterator[OpenDifference]:
    """Differences in the order of their references, then suspense and debts, the oldest first.

    A sum in suspense is positive where money came in; a debt is negative.
    """
    async for difference in Reconciler(clearing=clearing).differences(connection, today=now.date()):
        yield difference
    for item in await ResolutionDesk(clearing).suspense(connection, now=now):
        yield OpenDifference(
            leg=SUSPENSE, reference=str(item.id), currency=item.currency, type=SUSPENSE,
            amount_minor=item.left_minor, since=item.since, owner=item.owner, detail=item.detail,
            proposal=json.dumps({"do": "find where it belongs, then clear it out of suspense"}),
            first_seen_at=now, age_days=item.age_days, id=item.id,
        )  # fmt: skip
    for debt in await DebtDesk(clearing).debts(connection, now=now):
        buckets = ", ".join(f"{name} days: {minor}" for name, minor in debt.buckets if minor)
        yield OpenDifference(
            leg=DEBT, reference=debt.party_id, currency=debt.currency, type=DEBT,
            amount_minor=-debt.debt_minor, since=debt.since, owner=_COLLECTS, detail=buckets,
            proposal=json.dumps({"do": "collect it, set it off where the party agreed, or give it up"}),
            first_seen_at=now, age_days=debt.age_days,
        )  # fmt: skip
