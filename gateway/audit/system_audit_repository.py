"""What the proof reads of the gateway's own tables.

Owns: the checks whose result must be empty, and the totals that are compared. Must not know: what a finding
says, the PSP, the ledger.
"""

from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from gateway.audit.psp_comparison import UnderWay
from gateway.database import Connection, named_queries

_sql = named_queries("gateway", "audit.sql")


def checks_of(queries: Any) -> Mapping[str, Any]:
    """The statements of a file that look for sessions which fail a check, by the name of the check."""
    return MappingProxyType(
        {
            "captured_is_price": queries.capture_above_price,
            "capture_matches_authorization": queries.capture_without_authorization,
            "authorization_has_capture": queries.captured_without_capture,
            "capture_is_cleared": queries.uncleared_capture,
            "price_is_captured": queries.uncaptured_price,
        }
    )


_CHECKS: Final = checks_of(_sql)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWork:
    """How much work is under way, and how much waits for a person."""

    open_requests: int
    open_tasks: int
    exception_tasks: int
    uncleared_sessions: int

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return self.open_requests == 0 and self.open_tasks == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDifference:
    """A funded account that differs from its fundings, captures and active holds; minor units."""

    party_id: str
    currency: str
    balance_minor: int
    held_minor: int
    balance_due: int
    held_due: int


async def find_failed_checks(connection: Connection) -> dict[str, Sequence[UUID]]:
    """The sessions that fail a check, by the check's name; every check is named."""
    return {name: [row["session_id"] async for row in check(connection)] for name, check in _CHECKS.items()}


async def find_account_differences(
    connection: Connection, *, party_id: str | None = None, currency: str | None = None
) -> Sequence[AccountDifference]:
    """Funded accounts that are not what their movements make them: of all, or the one that is named."""
    found = _sql.account_differences(connection, party_id=party_id, currency=currency)
    return [AccountDifference(**dict(row)) async for row in found]


async def sum_cleared(connection: Connection) -> dict[str, int]:
    """Captured and cleared, less what was refunded or disputed, in minor units by currency."""
    return {row["currency"]: row["minor"] async for row in _sql.cleared_totals(connection)}


async def sum_psp_records(connection: Connection) -> dict[str, tuple[int, int]]:
    """Captured and refunded at the PSP, in minor units by currency."""
    rows = _sql.psp_totals(connection)
    return {row["currency"]: (row["minor"], row["refunded"]) async for row in rows}


async def sum_under_way(connection: Connection) -> dict[str, UnderWay]:
    """What has begun and is not in every book yet, by currency; transfers are clearing's."""
    return await under_way_of(_sql.under_way(connection))


async def under_way_of(rows: AsyncIterable[Any]) -> dict[str, UnderWay]:
    """Rows of a currency and its amounts under way, by currency."""
    found = {}
    async for row in rows:
        figures = dict(row)
        currency = figures.pop("currency")
        found[currency] = UnderWay(**figures)
    return found


async def open_work(connection: Connection) -> OpenWork:
    """What is under way, and what waits for a person."""
    return OpenWork(**dict(await anext(aiter(_sql.open_work(connection)))))
