"""Double taps in PostgreSQL: the policy of a party, and what was authorized a moment ago.

Owns: the translation between values and rows. Must not know: what a double tap leads to.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.database import Connection, named_queries

DEFAULT_WITHIN_S: Final = 60
_sql = named_queries("gateway", "double_taps.sql")


async def load_policy(connection: Connection, *, party_id: str) -> int:
    """For how many seconds a party's drivers are protected from a second hold; 0: not at all."""
    row = await _sql.double_tap_policy(connection, party_id=party_id)
    return DEFAULT_WITHIN_S if row is None else int(row["within_s"])


async def set_policy(connection: Connection, *, party_id: str, within_s: int) -> None:
    """Set it."""
    await _sql.set_double_tap_policy(connection, party_id=party_id, within_s=within_s)


async def find_recent(
    connection: Connection, *, party_id: str, payment_method: str, evse_id: str
) -> UUID | None:
    """The latest authorization of a payment method at an EVSE."""
    row = await _sql.recent_authorization(
        connection, party_id=party_id, payment_method=payment_method, evse_id=evse_id
    )
    return None if row is None else row["authorization_id"]


async def delete_old(connection: Connection, *, older_than: datetime) -> None:
    """Forget what was authorized before."""
    await _sql.delete_old_taps(connection, older_than=older_than)
