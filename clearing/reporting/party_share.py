"""What parties earned in a range of time, and between which accounts captured money moved.

Owns: the questions. Must not know: how they are shown. It only reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from clearing.connection import Connection, named_queries, rows

_QUERIES: Final[Any] = named_queries("party_share")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyShare:
    """What one party earned in one currency, minor units."""

    party_id: str
    currency: str
    amount_minor: int
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFlow:
    """What moved from one account to another, minor units of one currency."""

    debit_account: str
    credit_account: str
    currency: str
    amount_minor: int


async def list_shares(
    connection: Connection, *, since: datetime, until: datetime, party_id: str | None
) -> Sequence[PartyShare]:
    """Shares booked from `since` on and before `until`; of one party, or with None of all."""
    found = await rows(_QUERIES.shares(connection, since=since, until=until, party_id=party_id))
    return [PartyShare(**dict(row)) for row in found]


async def list_capture_flows(
    connection: Connection, *, since: datetime, until: datetime
) -> Sequence[AccountFlow]:
    """The transfers of captures booked from `since` on and before `until`, summed by their accounts."""
    found = await rows(_QUERIES.flows(connection, since=since, until=until))
    return [AccountFlow(**dict(row)) for row in found]
