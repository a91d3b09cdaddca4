"""Frozen tariffs in memory: found by their hash, they never change.

Owns: the bounded cache, least recently used removed first. Must not know: how a tariff is priced.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from gateway.database import Pool
from gateway.payments import repository
from gateway.payments.errors import NotFoundError
from gateway.payments.records import SnapshotRecord
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.payments.views import TariffReference

_KEPT: Final = 1_000
_LARGEST_BYTES: Final = 65_536  # larger ones are read each time, so that the cache stays below 64 MiB


@dataclass(slots=True, kw_only=True)
class TariffSnapshotCache:
    """Snapshots by hash."""

    pool: Pool
    tariffs: TariffSnapshotService
    _known: OrderedDict[str, SnapshotRecord] = field(default_factory=OrderedDict)

    async def get(self, sha256: str) -> SnapshotRecord:
        """The tariff of a hash that a session carries. Raises NotFoundError, which means lost evidence."""
        known = self._known.get(sha256)
        if known is not None:
            self._known.move_to_end(sha256)
            return known
        async with self.pool.acquire() as connection:
            found = await repository.find_snapshot(connection, sha256=sha256)
        if found is None:
            raise NotFoundError(f"tariff snapshot {sha256} is missing")
        self.keep(found)
        return found

    async def reference(self, sha256: str) -> TariffReference:
        """The tariff as public objects name it. Raises NotFoundError, as `get` does."""
        found = await self.get(sha256)
        return self.tariffs.reference(sha256=sha256, canonical=found.canonical, version=found.version)

    def keep(self, snapshot: SnapshotRecord) -> None:
        """Remember a snapshot that is stored."""
        if len(snapshot.canonical) > _LARGEST_BYTES:
            return
        self._known[snapshot.sha256] = snapshot
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
