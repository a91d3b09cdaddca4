"""Site hosts of locations as rows.

Owns: the one statement. Must not know what a host earns.
"""

from typing import Final

from gateway.database import Connection

_SET_SITE_HOST: Final = """
INSERT INTO gateway.site_host (cpo_id, location_id, party_id) VALUES ($1, $2, $3)
ON CONFLICT (cpo_id, location_id) DO UPDATE SET party_id = excluded.party_id
"""


async def set_site_host(connection: Connection, *, cpo_id: str, location_id: str, party_id: str) -> None:
    """Set a location's site host. Raises ForeignKeyViolationError for a party that does not exist."""
    await connection.execute(_SET_SITE_HOST, cpo_id, location_id, party_id)
