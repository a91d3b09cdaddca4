"""Exchange rates and the epochs of reference data in PostgreSQL.

Owns: rows to values and back. Must not know: what is cleared with them.
"""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.fx import RateTable, ReferenceRate

_sql = named_queries("reference_data")


async def load_epochs(connection: Connection) -> dict[str, UUID]:
    """The present epoch of each kind of reference data: unchanged means that what was read still holds."""
    return {row["name"]: row["epoch"] for row in await rows(_sql.epochs(connection))}


async def add_rates(connection: Connection, rates: Sequence[ReferenceRate], *, now: datetime) -> int:
    """Add published rates; a known one is left as it is. Returns how many were new."""
    added: int = await _sql.insert_rates(
        connection,
        now=now,
        bases=[rate.base for rate in rates],
        quotes=[rate.quote for rate in rates],
        days=[rate.rate_date for rate in rates],
        rates=[rate.rate for rate in rates],
        sources=[rate.source for rate in rates],
    )
    if added:
        await _sql.renew_epoch(connection, name="fx_rate")
    return added


async def load_rate_table(connection: Connection) -> RateTable:
    """Every stored rate as a table."""
    return RateTable([ReferenceRate(**dict(row.items())) for row in await rows(_sql.rates(connection))])


async def load_rates_between(connection: Connection, first_day: date, last_day: date) -> RateTable:
    """The rates of some days (inclusive) as a table."""
    found = await rows(_sql.rates_between(connection, first_day=first_day, last_day=last_day))
    return RateTable([ReferenceRate(**dict(row.items())) for row in found])
