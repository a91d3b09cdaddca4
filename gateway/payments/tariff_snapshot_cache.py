"""The frozen tariffs of sessions for those who hold no connection.

Owns: that a missing one is lost evidence. Must not know: how a tariff is priced, how many are kept.
"""

from dataclasses import dataclass, field

from gateway.database import Pool
from gateway.payments.errors import NotFoundError
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.payments.views import TariffReference
from gateway.stored_tariffs import StoredTariff, StoredTariffs


@dataclass(slots=True, kw_only=True)
class TariffSnapshotCache:
    """Snapshots by hash."""

    pool: Pool
    tariffs: TariffSnapshotService
    stored: StoredTariffs = field(default_factory=lambda: StoredTariffs(most=1_000))

    async def get(self, sha256: str) -> StoredTariff:
        """The tariff of a hash that a session carries. Raises NotFoundError, which means lost evidence."""
        found = self.stored.known(sha256)
        if found is None:
            async with self.pool.acquire() as connection:
                found = await self.stored.find(connection, sha256)
        if found is None:
            raise NotFoundError(f"tariff snapshot {sha256} is missing")
        return found

    async def reference(self, sha256: str) -> TariffReference:
        """The tariff as public objects name it. Raises NotFoundError, as `get` does."""
        found = await self.get(sha256)
        return self.tariffs.reference(sha256=sha256, canonical=found.canonical, version=found.version)
